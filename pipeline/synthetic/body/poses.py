"""How a person stands or walks in one image: the joints, and the tubes of trunk and head that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin, sqrt

import numpy as np

from pipeline.synthetic.body.appearance import Appearance
from pipeline.synthetic.body.tubes import Point3, Ring, Tube

FLOOR = 0.985  # y of the sole under the lowest ankle
ANKLE = 0.04  # height of an ankle over the floor


@dataclass(frozen=True)
class Pose:
    yaw: float  # radians, 0 = facing the camera
    phase: float  # of the walking cycle, radians
    stride: float  # largest angle of the thighs, radians
    swing: float  # largest angle of the arms, radians
    lean: float  # forward, radians
    head_turn: float  # radians
    raised_arm: int  # -1, 0, +1: the arm that holds a telephone
    light: int  # -1, +1


def sample_pose(rng: np.random.Generator, appearance: Appearance) -> Pose:
    """Samples a pose: from the front, from behind, from a side or between; walking mostly, standing at times."""
    walking = rng.random() < 0.75
    quarter = int(rng.choice(4, p=(0.32, 0.18, 0.32, 0.18)))
    return Pose(
        yaw=quarter * pi / 2 + float(rng.normal(0, 0.35)),
        phase=float(rng.uniform(0, 2 * pi)),
        stride=float(rng.uniform(0.30, 0.58) if walking else rng.uniform(0.0, 0.08)),
        swing=float(rng.uniform(0.15, 0.5) if walking else rng.uniform(0.0, 0.12)),
        lean=appearance.build.stoop + float(rng.normal(0, 0.03)),
        head_turn=float(rng.normal(0, 0.3)),
        raised_arm=int(rng.choice((-1, 0, 1), p=(0.08, 0.84, 0.08))),
        light=1 if rng.random() < 0.5 else -1,
    )


def shoulder_height(appearance: Appearance) -> float:
    return appearance.build.head + 0.048


def leg_joints(appearance: Appearance, pose: Pose, side: int) -> tuple[Point3, Point3, Point3]:
    build = appearance.build
    phase = pose.phase + (0 if side > 0 else pi)
    thigh = pose.stride * sin(phase) + 0.03
    shin = thigh - 0.05 - 1.4 * pose.stride * max(0.0, cos(phase)) ** 1.5
    length = (FLOOR - ANKLE - build.hip_height - 0.02) / 2
    hip = (side * build.hip * 0.54, build.hip_height + 0.02, 0.0)
    knee = (hip[0], hip[1] + length * cos(thigh), length * sin(thigh))
    ankle = (hip[0] * 0.96, knee[1] + length * cos(shin), knee[2] + length * sin(shin))
    return hip, knee, ankle


def arm_joints(appearance: Appearance, pose: Pose, side: int) -> tuple[Point3, Point3, Point3]:
    build, carried = appearance.build, appearance.carried
    upper, lower = 0.165, 0.15
    swing = -pose.swing * sin(pose.phase + (0 if side > 0 else pi))
    bend = 0.18 + 0.5 * max(0.0, swing)
    if carried.bag in ("handbag", "suitcase") and side == carried.side:
        swing, bend = 0.05 + 0.15 * swing, 0.08
    elif pose.raised_arm == side:
        swing, bend = 0.45, 1.9
    top = shoulder_height(appearance) + 0.034
    stoop = -pose.lean * (top - build.hip_height)
    out = 0.10 + appearance.top.loose
    shoulder = (side * (build.shoulder + appearance.top.loose * 0.5 - build.arm * 0.55), top, stoop)
    elbow = (shoulder[0] + side * out * upper, top + upper * cos(swing), stoop + upper * sin(swing))
    hand = (elbow[0], elbow[1] + lower * cos(swing + bend), elbow[2] + lower * sin(swing + bend))
    return shoulder, elbow, hand


def trunk_of(appearance: Appearance, pose: Pose) -> Tube:
    """Returns the trunk from the neck to the lower edge of the top, clothes included."""
    build, top = appearance.build, appearance.top
    shoulder, hip = shoulder_height(appearance), build.hip_height
    loose, chest = top.loose, build.depth

    def ring(y: float, width: float, depth: float) -> Ring:
        return Ring(y, width, depth, z=-pose.lean * (y - hip))

    rings = [
        ring(shoulder - 0.028, 0.040 + loose * 0.4, 0.04),
        ring(shoulder - 0.010, build.shoulder * 0.62, chest * 0.75),
        ring(shoulder + 0.012, build.shoulder * 0.90 + loose * 0.5, chest * 0.92),
        ring(shoulder + 0.040, build.shoulder * 0.98 + loose * 0.8, chest),
        ring(shoulder + 0.110, build.shoulder * 0.96 + loose, chest * 1.08 + loose),
        ring(hip - 0.110, build.waist + loose * 1.2, max(chest * 0.92, build.waist * 0.75) + loose),
        ring(hip - 0.010, build.hip + loose, max(chest, build.hip * 0.72) + loose),
    ]
    if top.hem > hip:
        below = (top.hem - hip) / (1 - hip)
        swing = pose.stride * abs(sin(pose.phase)) * below * 0.30
        width = build.hip + loose + 0.02 * below + top.flare * min(1.0, 2 * below)
        rings.append(Ring(top.hem, width, max(chest, build.hip * 0.75) + loose + top.flare + swing))
    return rings


def skirt_of(appearance: Appearance, pose: Pose) -> Tube:
    build, bottom = appearance.build, appearance.bottom
    hip = build.hip_height
    hem = hip + (1 - hip) * bottom.cover
    swing = pose.stride * abs(sin(pose.phase)) * bottom.cover * 0.35
    depth = max(build.depth, build.hip * 0.75)
    return [
        Ring(hip - 0.09, build.waist + 0.004, depth * 0.95),
        Ring(hip + 0.01, build.hip + 0.006, depth + 0.004),
        Ring(
            hip + 0.3 * (hem - hip),
            build.hip + 0.010 + bottom.flare * 0.5,
            depth + 0.01 + bottom.flare * 0.5 + swing * 0.4,
        ),
        Ring(hem, build.hip + 0.008 + bottom.flare * 1.3, depth + 0.008 + bottom.flare * 1.3 + swing),
    ]


def head_tube(appearance: Appearance, pose: Pose, size: float = 1.0) -> Tube:
    """Returns an egg, narrower at the chin."""
    head = appearance.build.head
    neck = -pose.lean * (head - appearance.build.hip_height)
    rings = []
    for share in (0.0, 0.06, 0.18, 0.34, 0.52, 0.68, 0.82, 0.93, 1.0):
        bulge = sqrt(max(0.02, 1 - (2 * share - 1) ** 2)) * (1 - 0.22 * max(0.0, share - 0.5) * 2)
        rings.append(Ring(head * share, 0.36 * head * bulge * size, 0.42 * head * bulge * size, z=neck + 0.012))
    return rings
