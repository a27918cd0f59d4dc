"""One person in one pose, rendered as a map of parts: the geometry that all kinds of cameras share."""

from __future__ import annotations

from dataclasses import replace
from math import cos

from pipeline.synthetic.body.appearance import Appearance
from pipeline.synthetic.body.bags import render_bag
from pipeline.synthetic.body.heads import render_hat, render_head, render_long_hair, render_neckwear
from pipeline.synthetic.body.limbs import render_arm, render_legs
from pipeline.synthetic.body.poses import ANKLE, FLOOR, Pose, leg_joints, trunk_of
from pipeline.synthetic.body.tops import render_top
from pipeline.synthetic.body.tubes import Canvas, View

FAR = 0.78  # light on limbs in the shade of the body


def render_body(canvas: Canvas, appearance: Appearance, pose: Pose, view: View) -> None:
    """Paints the person over whatever the canvas shows."""
    lowest = max(leg_joints(appearance, pose, side)[2][1] for side in (-1, 1))
    view = replace(view, top=view.top + view.scale * (FLOOR - ANKLE - lowest))
    trunk = trunk_of(appearance, pose)
    from_front = cos(view.yaw) > 0
    arms = sorted((-1, 1), key=lambda side: view.nearness(side, 0))
    behind = [side for side in arms if view.nearness(side * appearance.build.shoulder, 0) < -0.04]

    render_bag(canvas, appearance, pose, view, trunk, behind=True)
    for side in behind:
        render_arm(canvas, appearance, pose, view, side, FAR)
    if from_front:
        render_long_hair(canvas, appearance, pose, view)
    render_legs(canvas, appearance, pose, view)
    render_top(canvas, appearance, view, trunk)
    render_head(canvas, appearance, pose, view, trunk)
    if not from_front:
        render_long_hair(canvas, appearance, pose, view)
    render_hat(canvas, appearance, pose, view)
    if not from_front:
        render_neckwear(canvas, appearance, view, trunk)
    for side in arms:
        if side not in behind:
            render_arm(canvas, appearance, pose, view, side, 0.95)
    render_bag(canvas, appearance, pose, view, trunk, behind=False)
