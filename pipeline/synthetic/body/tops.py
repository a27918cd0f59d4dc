"""The trunk and what is worn on it."""

from __future__ import annotations

from math import pi

from pipeline.synthetic.body.appearance import Appearance, Part
from pipeline.synthetic.body.tubes import (
    HEM_LIGHT,
    Canvas,
    Tube,
    View,
    fill_tube,
    grown,
    patch,
    ring_at,
    slice_tube,
    surface,
)

# Folds of the cloth: angle around the trunk, start and end as shares of the way from the shoulders to the hem.
FOLDS = ((-1.1, 0.45, 0.60), (1.2, 0.55, 0.72), (2.6, 0.40, 0.62), (-2.3, 0.50, 0.75))
FOLD_WIDTH = 0.009


def render_top(canvas: Canvas, appearance: Appearance, view: View, trunk: Tube) -> None:
    """Renders the clothed trunk: `trunk` from `poses.trunk_of`."""
    top, hip, hem = appearance.top, appearance.build.hip_height, trunk[-1].y
    fill_tube(canvas, view, trunk, Part.TOP)
    _pattern(canvas, view, top.pattern, top.pattern_size, trunk, hip)
    if top.opening:
        patch(canvas, view, trunk, (-top.opening, top.opening), (trunk[0].y, min(hem, hip + 0.02)), Part.INNER)
        if hem > hip + 0.02:
            patch(canvas, view, trunk, (-top.opening * 0.8, top.opening * 0.8), (hip + 0.02, hem), Part.BOTTOM)
    elif top.kind in ("jacket", "puffer", "coat"):
        patch(canvas, view, trunk, (-0.05, 0.05), (trunk[2].y, hem), Part.TOP_TRIM)
    elif top.kind != "hoodie":
        patch(canvas, view, trunk, (-0.8, 0.8), (trunk[0].y, trunk[2].y - 0.006), Part.SKIN)
    if top.belt:
        fill_tube(canvas, view, slice_tube(grown(trunk, 0.003), hip - 0.085, hip - 0.06), Part.TOP_TRIM)
    if top.quilted:
        _seams(canvas, view, trunk)
    if top.kind == "hoodie":
        _pocket_and_rib(canvas, view, trunk, hip)
    _folds(canvas, view, trunk)
    _level_crease(canvas, view, trunk, hem, HEM_LIGHT)


def _folds(canvas: Canvas, view: View, trunk: Tube) -> None:
    shoulder, hem = trunk[2].y, trunk[-1].y
    for angle, start, end in FOLDS:
        upper, lower = (ring_at(trunk, shoulder + share * (hem - shoulder)) for share in (start, end))
        line = [surface(view, upper, angle), surface(view, lower, angle * 0.75)]
        canvas.crease(line, FOLD_WIDTH * view.scale, 0.84)


def _seams(canvas: Canvas, view: View, trunk: Tube) -> None:
    """Renders the level seams of a quilted jacket."""
    shoulder, hem = trunk[2].y, trunk[-1].y
    for step in range(1, 7):
        _level_crease(canvas, view, trunk, shoulder + 0.01 + step * (hem - shoulder) / 7, 0.72)


def _pocket_and_rib(canvas: Canvas, view: View, trunk: Tube, hip: float) -> None:
    patch(canvas, view, trunk, (-0.6, 0.6), (hip - 0.10, hip - 0.01), Part.TOP)
    rings = [ring_at(trunk, y) for y in (hip - 0.10, hip - 0.02)]
    for angle in (-0.65, 0.65):
        canvas.crease([surface(view, ring, angle) for ring in rings], FOLD_WIDTH * view.scale, 0.78)
    _level_crease(canvas, view, trunk, trunk[-1].y - 0.022, 0.80)


def _level_crease(canvas: Canvas, view: View, trunk: Tube, y: float, light: float) -> None:
    ring = ring_at(trunk, y)
    line = [surface(view, ring, angle - view.yaw) for angle in (-1.4, -0.5, 0.5, 1.4)]
    canvas.crease(line, FOLD_WIDTH * view.scale, light)


def _pattern(canvas: Canvas, view: View, name: str, size: float, trunk: Tube, hip: float) -> None:
    shoulder, hem = trunk[2].y, trunk[-1].y
    second = Part.TOP_SECOND
    if name == "stripes":
        step = 0.030 + 0.035 * size
        y = shoulder + 0.03
        while y + step * 0.5 < hem:
            fill_tube(canvas, view, slice_tube(trunk, y, y + step * 0.5), second)
            y += step
    elif name == "block":
        edge = shoulder + (0.25 + 0.5 * size) * (min(hem, hip + 0.02) - shoulder)
        pieces = (trunk[0].y, edge) if size < 0.5 else (edge, hem)
        fill_tube(canvas, view, slice_tube(trunk, *pieces), second)
    elif name == "band":
        y = shoulder + (0.2 + 0.45 * size) * (hip - shoulder)
        fill_tube(canvas, view, slice_tube(trunk, y, y + 0.05), second)
    elif name == "sides":
        for center in (-pi / 2, pi / 2):
            reach = 0.35 + 0.3 * size
            patch(canvas, view, trunk, (center - reach, center + reach), (shoulder + 0.03, hem), second)
    elif name == "print":
        y = shoulder + 0.05
        reach = 0.35 + 0.35 * size
        patch(canvas, view, trunk, (-reach, reach), (y, y + 0.06 + 0.08 * size), second)
        patch(canvas, view, trunk, (pi - reach, pi + reach), (y - 0.01, y + 0.03 + 0.03 * size), second)
