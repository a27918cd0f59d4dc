"""Head, face, hair, and what is worn on and around the head."""

from __future__ import annotations

from dataclasses import replace
from math import cos

from pipeline.synthetic.body.appearance import Appearance, Part
from pipeline.synthetic.body.poses import Pose, head_tube, shoulder_height
from pipeline.synthetic.body.tubes import Canvas, Ring, Tube, View, fill_tube, grown, limb, patch, slice_tube

# width of the hair relative to the skull, and its lower edge as a share of the head's height
HAIR_SHAPES = {
    "short": (1.05, 0.62),
    "curly": (1.30, 0.78),
    "bob": (1.14, 0.92),
    "long": (1.08, 0.72),
    "ponytail": (1.08, 0.72),
    "bun": (1.08, 0.72),
}


def render_head(canvas: Canvas, appearance: Appearance, pose: Pose, view: View, trunk: Tube) -> None:
    hair, head = appearance.hair, appearance.build.head
    shoulder = shoulder_height(appearance)
    neck_z = -pose.lean * (head - appearance.build.hip_height)
    neck = ((0.0, head * 0.8, neck_z), (0.0, shoulder - 0.015, neck_z - 0.005))
    limb(canvas, view, neck, (head * 0.22, head * 0.25), Part.SKIN, 0.85)
    if cos(view.yaw) > 0:
        render_neckwear(canvas, appearance, view, trunk)
    turned = replace(view, yaw=view.yaw + pose.head_turn)
    skull = head_tube(appearance, pose)
    if appearance.top.hood == "up":
        _hood_up(canvas, appearance, pose, turned)
        _face(canvas, appearance, turned, skull)
        return
    _skull_and_hair(canvas, appearance, pose, turned)
    if hair.style in ("ponytail", "bun"):
        _tied_hair(canvas, appearance, turned, neck_z)
    _face(canvas, appearance, turned, skull)


def _skull_and_hair(canvas: Canvas, appearance: Appearance, pose: Pose, view: View) -> None:
    head, style, skull = appearance.build.head, appearance.hair.style, head_tube(appearance, pose)
    if style == "bald":
        fill_tube(canvas, view, skull, Part.SKIN)
        return
    size, end = HAIR_SHAPES[style]
    fill_tube(canvas, view, slice_tube(skull, 0.6 * head, head), Part.SKIN)
    rise = (0.06 if style == "curly" else 0.02) * head
    cap = slice_tube(head_tube(appearance, pose, size), 0.0, end * head)
    fill_tube(canvas, view, [replace(ring, y=ring.y - rise) for ring in cap], Part.HAIR)
    patch(canvas, view, skull, (-1.15, 1.15), (0.22 * head, head), Part.SKIN)


def _face(canvas: Canvas, appearance: Appearance, view: View, skull: Tube) -> None:
    head, hair = appearance.build.head, appearance.hair
    if hair.beard:
        patch(canvas, view, skull, (-1.1, 1.1), (0.72 * head, head), Part.HAIR)
        patch(canvas, view, skull, (-0.2, 0.2), (0.75 * head, 0.8 * head), Part.SKIN)
    else:
        patch(canvas, view, skull, (-0.22, 0.22), (0.77 * head, 0.80 * head), Part.FEATURE)
    for angle in (-0.45, 0.45):
        reach, heights = (0.28, (0.43, 0.56)) if hair.glasses else (0.13, (0.47, 0.52))
        patch(canvas, view, skull, (angle - reach, angle + reach), (heights[0] * head, heights[1] * head), Part.FEATURE)
    if hair.glasses:
        patch(canvas, view, skull, (-1.3, 1.3), (0.46 * head, 0.49 * head), Part.FEATURE)


def _tied_hair(canvas: Canvas, appearance: Appearance, view: View, neck_z: float) -> None:
    head = appearance.build.head
    if appearance.hair.style == "bun":
        place = view.point(0.0, 0.06 * head, neck_z - 0.40 * head)
        radius = 0.20 * head * view.scale
        canvas.disc(place, radius, Part.HAIR, 0.92)
    elif cos(view.yaw) < 0.5:
        start, end = (0.0, 0.30 * head, neck_z - 0.42 * head), (0.0, 1.5 * head, neck_z - 0.5 * head)
        limb(canvas, view, (start, end), (0.12 * head, 0.07 * head), Part.HAIR, 0.92)


def render_long_hair(canvas: Canvas, appearance: Appearance, pose: Pose, view: View) -> None:
    if appearance.hair.style != "long" or appearance.top.hood == "up":
        return
    head = appearance.build.head
    skull = head_tube(appearance, pose, 1.12)
    z = skull[0].z - 0.16 * head
    end = 2.1 * head
    tube = [*slice_tube(skull, 0.3 * head, 0.5 * head), Ring(0.9 * head, 0.44 * head, 0.30 * head, z=z)]
    tube.append(Ring(end, 0.40 * head, 0.22 * head, z=z - 0.05 * head))
    fill_tube(canvas, replace(view, yaw=view.yaw + pose.head_turn * 0.5), tube, Part.HAIR)


def render_hat(canvas: Canvas, appearance: Appearance, pose: Pose, view: View) -> None:
    hat, head = appearance.hair.hat, appearance.build.head
    if hat == "none" or appearance.top.hood == "up":
        return
    turned = replace(view, yaw=view.yaw + pose.head_turn)
    dome = slice_tube(head_tube(appearance, pose, 1.18), 0.0, 0.34 * head)
    dome = [replace(ring, y=ring.y - 0.04 * head) for ring in dome]
    z = dome[0].z
    if hat == "beanie":
        fill_tube(canvas, turned, dome, Part.HAT)
        fill_tube(canvas, turned, slice_tube(grown(dome, 0.003), 0.17 * head, 0.32 * head), Part.HAT_SECOND)
        return
    brim_y = 0.30 * head
    if hat == "brimmed":
        canvas.disc(turned.point(0.0, brim_y, z), 0.72 * head * view.scale, Part.HAT, 0.85, flat=0.24)
        fill_tube(canvas, turned, dome, Part.HAT)
        fill_tube(canvas, turned, slice_tube(dome, 0.18 * head, 0.27 * head), Part.HAT_SECOND)
        return
    fill_tube(canvas, turned, dome, Part.HAT)
    peak = [(-0.36, 0.25), (-0.30, 0.72), (0.0, 0.85), (0.30, 0.72), (0.36, 0.25)]
    if cos(turned.yaw) > -0.25:
        canvas.fill([turned.point(x * head, brim_y, z + forward * head) for x, forward in peak], Part.HAT_SECOND, 0.9)


def render_neckwear(canvas: Canvas, appearance: Appearance, view: View, trunk: Tube) -> None:
    head, shoulder = appearance.build.head, shoulder_height(appearance)
    z = trunk[0].z
    if appearance.top.hood == "down":
        collar = [Ring(shoulder - 0.045, 0.060, 0.058, z=z - 0.015), Ring(shoulder + 0.012, 0.078, 0.066, z=z - 0.018)]
        fill_tube(canvas, view, collar, Part.TOP, 0.9)
        if cos(view.yaw) < 0.3:
            back = [Ring(shoulder - 0.03, 0.055, 0.03, z=z - 0.055), Ring(shoulder + 0.055, 0.040, 0.02, z=z - 0.065)]
            fill_tube(canvas, view, back, Part.TOP, 0.86)
    if appearance.carried.scarf:
        wrap = [Ring(head * 0.88, 0.050, 0.054, z=z + 0.005), Ring(shoulder - 0.02, 0.068, 0.066, z=z + 0.005)]
        wrap.append(Ring(shoulder + 0.012, 0.060, 0.060, z=z + 0.005))
        fill_tube(canvas, view, wrap, Part.SCARF)
        patch(canvas, view, grown(trunk, 0.004), (0.15, 0.60), (shoulder, shoulder + 0.16), Part.SCARF)


def _hood_up(canvas: Canvas, appearance: Appearance, pose: Pose, view: View) -> None:
    head = appearance.build.head
    hood = [replace(ring, y=ring.y - 0.05 * head) for ring in head_tube(appearance, pose, 1.28)]
    hood[-1] = Ring(head * 1.12, 0.42 * head, 0.42 * head, z=hood[0].z)
    fill_tube(canvas, view, hood, Part.TOP)
    patch(canvas, view, head_tube(appearance, pose, 1.1), (-0.85, 0.85), (0.16 * head, 0.97 * head), Part.SKIN)
