"""Bags and suitcases."""

from __future__ import annotations

from math import cos, pi

import numpy as np

from pipeline.synthetic.body.appearance import Appearance, Part
from pipeline.synthetic.body.poses import Pose, arm_joints
from pipeline.synthetic.body.tubes import (
    Canvas,
    Ring,
    Tube,
    View,
    fill_tube,
    grown,
    patch,
    ring_at,
    slice_tube,
    surface,
)


def render_bag(canvas: Canvas, appearance: Appearance, pose: Pose, view: View, trunk: Tube, behind: bool) -> None:
    """Renders the part of the bag seen behind (before the body is rendered) or in front of the body."""
    carried = appearance.carried
    if carried.bag == "backpack":
        _backpack(canvas, appearance, view, trunk, behind)
    elif carried.bag == "crossbody":
        _crossbody(canvas, appearance, view, trunk, behind)
    elif carried.bag in ("handbag", "tote", "suitcase"):
        _hanging_bag(canvas, appearance, pose, view, trunk, behind)


def _backpack(canvas: Canvas, appearance: Appearance, view: View, trunk: Tube, behind: bool) -> None:
    size, shoulder = appearance.carried.bag_size, trunk[2].y
    chest = ring_at(trunk, shoulder + 0.1)
    thick, wide = 0.035 + 0.035 * size, 0.062 + 0.035 * size
    z = chest.z - chest.depth - thick * 0.75
    end = shoulder + 0.17 + 0.14 * size
    pack = [Ring(shoulder - 0.012, wide * 0.6, thick * 0.5, z=z), Ring(shoulder + 0.012, wide * 0.95, thick * 0.8, z=z)]
    pack += [Ring((shoulder + end) / 2, wide * 1.05, thick, z=z), Ring(end - 0.015, wide, thick * 1.05, z=z)]
    pack.append(Ring(end, wide * 0.8, thick * 0.8, z=z))
    if behind == (cos(view.yaw) > 0):
        fill_tube(canvas, view, pack, Part.BAG, hem=True)
        if not behind:
            patch(
                canvas, view, pack, (pi - 0.9, pi + 0.9), (shoulder + 0.10 + 0.05 * size, end - 0.02), Part.BAG_SECOND
            )
    if not behind:
        body = grown(trunk, 0.002)
        for angle in (-0.78, 0.78):
            patch(canvas, view, body, (angle - 0.13, angle + 0.13), (shoulder - 0.01, shoulder + 0.16), Part.BAG)


def _crossbody(canvas: Canvas, appearance: Appearance, view: View, trunk: Tube, behind: bool) -> None:
    side, size = appearance.carried.side, appearance.carried.bag_size
    hip, shoulder = appearance.build.hip_height, trunk[2].y
    at_hip = ring_at(trunk, hip)
    bag_x = side * (at_hip.width + 0.012)
    wide, thick = 0.05 + 0.025 * size, 0.022 + 0.012 * size
    bag = [Ring(hip - 0.02, thick, wide, x=bag_x), Ring(hip + 0.07 + 0.05 * size, thick * 1.1, wide * 1.02, x=bag_x)]
    near = view.nearness(side, 0) > -0.15
    if behind == (not near):
        fill_tube(canvas, view, bag, Part.BAG, hem=True)
        if near:
            fill_tube(canvas, view, slice_tube(bag, hip - 0.02, hip + 0.02), Part.BAG_SECOND)
    if behind:
        return
    from_front = cos(view.yaw) > 0
    across = [-side * 0.62, -side * 0.3, side * 0.15, side * 0.6, side * 1.2]
    if not from_front:
        across = [pi - angle for angle in across]
    heights = np.linspace(shoulder - 0.012, hip - 0.02, len(across))
    points = [surface(view, ring_at(trunk, float(y)), angle) for y, angle in zip(heights, across, strict=True)]
    canvas.line(points, 0.020 * view.scale, Part.BAG)


def _hanging_bag(canvas: Canvas, appearance: Appearance, pose: Pose, view: View, trunk: Tube, behind: bool) -> None:
    carried, size = appearance.carried, appearance.carried.bag_size
    if behind == (view.nearness(carried.side, 0.0) > -0.1):
        return
    shoulder, _, hand = arm_joints(appearance, pose, carried.side)
    x, y, z = hand
    if carried.bag == "tote":
        x, y, z = shoulder[0] + carried.side * 0.03, shoulder[1] + 0.16, shoulder[2] - 0.03
        wide, tall, thick = 0.07 + 0.02 * size, 0.13 + 0.04 * size, 0.028
        handle = [view.point(shoulder[0], shoulder[1] - 0.03, shoulder[2]), view.point(x, y, z + 0.04)]
        canvas.line(handle, 0.016 * view.scale, Part.BAG_SECOND)
    elif carried.bag == "handbag":
        wide, tall, thick = 0.06 + 0.03 * size, 0.08 + 0.04 * size, 0.03
        y += 0.055
        for shift in (-0.03, 0.03):
            canvas.line([view.point(x, y - 0.05, z), view.point(x, y, z + shift)], 0.010 * view.scale, Part.BAG_SECOND)
    else:
        z, wide, thick = -0.16, 0.075 + 0.02 * size, 0.05
        canvas.line([view.point(*hand), view.point(x, 0.68, z)], 0.014 * view.scale, Part.BAG_SECOND)
        tall, y = 0.26 - 0.02 * (1 - size), 0.70
    bag = [Ring(y, thick * 0.9, wide * 0.9, x=x, z=z), Ring(y + 0.2 * tall, thick, wide, x=x, z=z)]
    bag.append(Ring(y + tall, thick * 1.1, wide * 1.05, x=x, z=z))
    fill_tube(canvas, view, bag, Part.BAG, hem=True)
    fill_tube(canvas, view, slice_tube(bag, y + 0.3 * tall, y + 0.42 * tall), Part.BAG_SECOND)
