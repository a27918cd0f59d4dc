"""Legs with shoes, and arms, with the clothes on them."""

from __future__ import annotations

from pipeline.synthetic.body.appearance import Appearance, Part
from pipeline.synthetic.body.poses import Pose, arm_joints, leg_joints, skirt_of
from pipeline.synthetic.body.tubes import (
    Canvas,
    Point3,
    Ring,
    View,
    between,
    cuff,
    fill_tube,
    limb,
    slice_tube,
    surface,
)

FAR_LEG = 0.74  # light on the leg behind
SKIRT_FOLDS = (-2.4, -1.3, -0.5, 0.4, 1.2, 2.2)  # angles around the body
CREASE = 0.010


def render_legs(canvas: Canvas, appearance: Appearance, pose: Pose, view: View) -> None:
    """Renders both legs, the farther one first, then skirt or seat."""

    def nearness(side: int) -> float:
        ankle = leg_joints(appearance, pose, side)[2]
        return view.nearness(side * appearance.build.hip, ankle[2] * 0.3)

    for side, light in zip(sorted((-1, 1), key=nearness), (FAR_LEG, 1.0), strict=True):
        _leg(canvas, appearance, pose, view, side, light)
    if appearance.bottom.skirt:
        _skirt(canvas, appearance, pose, view)
    else:
        _seat(canvas, appearance, view)


def _skirt(canvas: Canvas, appearance: Appearance, pose: Pose, view: View) -> None:
    tube = skirt_of(appearance, pose)
    fill_tube(canvas, view, tube, Part.BOTTOM, hem=True)
    if appearance.bottom.pattern != "plain":
        fill_tube(canvas, view, slice_tube(tube, tube[-1].y - 0.05, tube[-1].y), Part.BOTTOM_SECOND)
    for angle in SKIRT_FOLDS:
        canvas.crease([surface(view, ring, angle) for ring in tube[1:]], CREASE * view.scale, 0.84)


def _seat(canvas: Canvas, appearance: Appearance, view: View) -> None:
    """Trousers between waist and thighs."""
    build, hip = appearance.build, appearance.build.hip_height
    depth = max(build.depth, build.hip * 0.75)
    rings = [
        Ring(hip - 0.10, build.waist, build.depth * 0.95),
        Ring(hip, build.hip, depth),
        Ring(hip + 0.045, build.hip * 0.97, depth * 0.95),
    ]
    fill_tube(canvas, view, rings, Part.BOTTOM)


def _leg(canvas: Canvas, appearance: Appearance, pose: Pose, view: View, side: int, light: float) -> None:
    hip, knee, ankle = joints = leg_joints(appearance, pose, side)
    thigh, calf, thin = appearance.build.leg, appearance.build.leg * 0.72, appearance.build.leg * 0.46
    bare = Part.STOCKING if appearance.bottom.skirt else Part.SKIN
    limb(canvas, view, (hip, knee), (thigh, calf * 0.95), bare, light)
    limb(canvas, view, (knee, ankle), (calf, thin), bare, light)
    _foot(canvas, appearance, view, ankle, light)
    if appearance.bottom.boots:
        top = between(knee, ankle, 1 - min(1.0, appearance.bottom.boots * 2))
        limb(canvas, view, (ankle, ankle), (thin * 1.35, thin * 1.35), Part.SHOE, light)
        cuff(canvas, view, (top, ankle), (calf * 1.05, thin * 1.35), Part.SHOE, light)
    if not appearance.bottom.skirt:
        _trouser_leg(canvas, appearance, view, joints, side, light)


def _trouser_leg(
    canvas: Canvas, appearance: Appearance, view: View, joints: tuple[Point3, Point3, Point3], side: int, light: float
) -> None:
    bottom, leg = appearance.bottom, appearance.build.leg
    hip, knee, ankle = joints
    at_hip, at_knee = leg * 1.06, leg * max(0.72, 0.43 + 0.29 * bottom.width)
    if bottom.cover > 0.5:
        share = bottom.cover * 2 - 1
        start, hem = knee, between(knee, ankle, share)
        radius = at_knee + share * (leg * 0.46 * bottom.width - at_knee)
        limb(canvas, view, (hip, knee), (at_hip, at_knee), Part.BOTTOM, light)
        canvas.disc(view.point(*knee), at_knee * view.scale, Part.BOTTOM, light)
        cuff(canvas, view, (knee, hem), (at_knee, radius), Part.BOTTOM, light)
        canvas.crease([view.point(*knee), view.point(*between(knee, hem, 0.2))], CREASE * view.scale, light * 0.85)
    else:
        start, hem = hip, between(hip, knee, bottom.cover * 2)
        radius = at_hip * (0.85 + 0.12 * bottom.width)
        canvas.disc(view.point(*hip), at_hip * view.scale, Part.BOTTOM, light)
        cuff(canvas, view, (hip, hem), (at_hip, radius), Part.BOTTOM, light)
    if bottom.pattern == "hem":
        cuff(canvas, view, (between(start, hem, 0.7), hem), (radius * 1.06,) * 2, Part.BOTTOM_SECOND, light)
    elif bottom.pattern == "side" and view.nearness(side, 0.0) > -0.35:
        seam = [view.point(x + side * leg * 0.6, y, z) for x, y, z in (hip, knee, hem)]
        canvas.line(seam, 0.022 * view.scale, Part.BOTTOM_SECOND, light)


def _foot(canvas: Canvas, appearance: Appearance, view: View, ankle: Point3, light: float) -> None:
    """Renders a shoe from heel to toe; the foot behind lifts its heel."""
    x, y, z = ankle
    lift = 0.02 if z < -0.06 else 0.0
    size = appearance.build.leg * 0.5
    sole = ((x, y + 0.034 - lift, z - 0.02), (x * 1.15, y + 0.036, z + 0.085))
    limb(canvas, view, sole, (size * 0.8, size * 0.62), Part.SOLE, light)
    shoe = ((x, y + 0.018 - lift, z - 0.018), (x * 1.15, y + 0.026, z + 0.085))
    limb(canvas, view, shoe, (size, size * 0.72), Part.SHOE, light)


def render_arm(canvas: Canvas, appearance: Appearance, pose: Pose, view: View, side: int, light: float) -> None:
    """Renders one arm with hand and sleeve; side +1 is the person's left."""
    shoulder, elbow, hand = joints = arm_joints(appearance, pose, side)
    radius, wrist = appearance.build.arm, appearance.build.arm * 0.62
    palm = between(elbow, hand, 1.14)
    limb(canvas, view, (shoulder, elbow), (radius, radius * 0.85), Part.SKIN, light)
    limb(canvas, view, (elbow, hand), (radius * 0.85, wrist), Part.SKIN, light)
    limb(canvas, view, (hand, palm), (wrist * 1.05, wrist * 0.95), Part.SKIN, light)
    if appearance.top.sleeve > 0.08:
        _sleeve(canvas, appearance, view, joints, light)


def _sleeve(
    canvas: Canvas, appearance: Appearance, view: View, joints: tuple[Point3, Point3, Point3], light: float
) -> None:
    top, (shoulder, elbow, hand) = appearance.top, joints
    part = Part.TOP_SECOND if top.pattern == "sleeves" else Part.TOP
    radius = appearance.build.arm * 1.12 + top.loose * 0.6
    canvas.disc(view.point(*shoulder), radius * 1.02 * view.scale, part, light)
    if top.sleeve <= 0.5:
        end = between(shoulder, elbow, top.sleeve * 2)
        cuff(canvas, view, (shoulder, end), (radius * 1.02, radius * 1.12), part, light)
        return
    end = between(elbow, hand, top.sleeve * 2 - 1)
    limb(canvas, view, (shoulder, elbow), (radius * 1.02, radius), part, light)
    cuff(canvas, view, (elbow, end), (radius, radius * 0.82), part, light)
    canvas.crease([view.point(*elbow), view.point(*between(elbow, end, 0.15))], CREASE * view.scale, light * 0.8)
    if top.pattern == "band":
        band = (between(shoulder, elbow, 0.5), between(shoulder, elbow, 0.75))
        cuff(canvas, view, band, (radius * 1.06, radius * 1.05), Part.TOP_SECOND, light)
