"""One person in one pose, drawn as a map of parts: the geometry that all kinds of cameras share."""

from __future__ import annotations

from dataclasses import replace
from math import cos

from pipeline.datasets.figure.bags import draw_bag
from pipeline.datasets.figure.heads import draw_hat, draw_head, draw_long_hair, draw_neckwear
from pipeline.datasets.figure.limbs import draw_arm, draw_legs
from pipeline.datasets.figure.person import Person
from pipeline.datasets.figure.poses import ANKLE, FLOOR, Pose, leg_joints, trunk_of
from pipeline.datasets.figure.shapes import Canvas, View
from pipeline.datasets.figure.tops import draw_top

FAR = 0.78  # light on limbs in the shade of the body


def draw_person(canvas: Canvas, person: Person, pose: Pose, view: View) -> None:
    """Paint the person over whatever the canvas shows."""
    lowest = max(leg_joints(person, pose, side)[2][1] for side in (-1, 1))
    view = replace(view, top=view.top + view.scale * (FLOOR - ANKLE - lowest))
    trunk = trunk_of(person, pose)
    from_front = cos(view.yaw) > 0
    arms = sorted((-1, 1), key=lambda side: view.nearness(side, 0))
    behind = [side for side in arms if view.nearness(side * person.build.shoulder, 0) < -0.04]

    draw_bag(canvas, person, pose, view, trunk, behind=True)
    for side in behind:
        draw_arm(canvas, person, pose, view, side, FAR)
    if from_front:
        draw_long_hair(canvas, person, pose, view)
    draw_legs(canvas, person, pose, view)
    draw_top(canvas, person, view, trunk)
    draw_head(canvas, person, pose, view, trunk)
    if not from_front:
        draw_long_hair(canvas, person, pose, view)
    draw_hat(canvas, person, pose, view)
    if not from_front:
        draw_neckwear(canvas, person, view, trunk)
    for side in arms:
        if side not in behind:
            draw_arm(canvas, person, pose, view, side, 0.95)
    draw_bag(canvas, person, pose, view, trunk, behind=False)
