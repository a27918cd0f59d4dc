"""Round bodies on a canvas: tubes, limbs and patches on a tube's surface, seen from any side.

Body coordinates: x to the person's left, y down (0 = top of the head, 1 = floor), z forward, in statures. The camera
sees them without perspective but from a little above, so what is nearer stands lower in the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import atan2, cos, hypot, pi, sin

from PIL import Image, ImageDraw

LOOKING_DOWN = 0.13
HEM_WIDTH = 0.012  # of the dark edge where a piece of clothing ends
HEM_LIGHT = 0.62
NEUTRAL = 128  # value of the light image that leaves a color unchanged

Point = tuple[float, float]
Point3 = tuple[float, float, float]


@dataclass(frozen=True)
class Ring:
    """One cross-section of a tube: an ellipse with these half axes around (x, z) at height y."""

    y: float
    width: float
    depth: float
    x: float = 0.0
    z: float = 0.0


Tube = list[Ring]  # from top to bottom


@dataclass(frozen=True)
class View:
    """How the camera sees a body. yaw 0: from the front; pi / 2: the person walks to the right of the image."""

    yaw: float
    scale: float  # pixels a stature
    left: float  # pixel of x = 0
    top: float  # pixel of y = 0
    light: int  # -1: light from the left, +1: from the right

    def point(self, x: float, y: float, z: float) -> Point:
        turn_cos, turn_sin = cos(self.yaw), sin(self.yaw)
        near = z * turn_cos - x * turn_sin
        return (
            self.left + self.scale * (x * turn_cos + z * turn_sin),
            self.top + self.scale * (y + LOOKING_DOWN * near),
        )

    def nearness(self, x: float, z: float) -> float:
        return z * cos(self.yaw) - x * sin(self.yaw)

    def half_width(self, ring: Ring) -> float:
        return hypot(ring.width * cos(self.yaw), ring.depth * sin(self.yaw))


class Canvas:
    """Two maps of one size: `parts` says which part a pixel shows, `lights` how brightly it is lit."""

    def __init__(self, width: int, height: int) -> None:
        self.parts = Image.new("L", (width, height), 0)
        self.lights = Image.new("L", (width, height), NEUTRAL)
        self._part, self._light = ImageDraw.Draw(self.parts), ImageDraw.Draw(self.lights)

    def fill(self, points: list[Point], part: int, light: float = 1.0) -> None:
        self._part.polygon(points, fill=int(part))
        self._light.polygon(points, fill=int(NEUTRAL * light))

    # shade and crease change the light only, and leave the parts as they are
    def shade(self, points: list[Point], light: float) -> None:
        self._light.polygon(points, fill=int(NEUTRAL * light))

    def disc(self, center: Point, radius: float, part: int, light: float = 1.0, flat: float = 1.0) -> None:
        """Fills a circle, or an ellipse of which `flat` is the height to the width."""
        box = (center[0] - radius, center[1] - radius * flat, center[0] + radius, center[1] + radius * flat)
        self._part.ellipse(box, fill=int(part))
        self._light.ellipse(box, fill=int(NEUTRAL * light))

    def box(self, corners: tuple[float, float, float, float], part: int, light: float = 1.0) -> None:
        left, top, right, bottom = corners
        self.fill([(left, top), (right, top), (right, bottom), (left, bottom)], part, light)

    def line(self, points: list[Point], width: float, part: int, light: float = 1.0) -> None:
        self._part.line(points, fill=int(part), width=max(1, round(width)), joint="curve")
        self._light.line(points, fill=int(NEUTRAL * light), width=max(1, round(width)))

    def crease(self, points: list[Point], width: float, light: float) -> None:
        self._light.line(points, fill=int(NEUTRAL * light), width=max(1, round(width)))


def ring_at(tube: Tube, y: float) -> Ring:
    """Returns the cross-section at height y, between its neighbours; beyond the ends the last one."""
    if y <= tube[0].y:
        return tube[0]
    for upper, lower in zip(tube, tube[1:], strict=False):
        if y <= lower.y:
            t = (y - upper.y) / max(lower.y - upper.y, 1e-9)
            return Ring(
                y,
                upper.width + t * (lower.width - upper.width),
                upper.depth + t * (lower.depth - upper.depth),
                upper.x + t * (lower.x - upper.x),
                upper.z + t * (lower.z - upper.z),
            )
    return tube[-1]


def slice_tube(tube: Tube, top: float, bottom: float) -> Tube:
    """Returns the piece of a tube between two heights."""
    inner = [ring for ring in tube if top < ring.y < bottom]
    return [ring_at(tube, top), *inner, ring_at(tube, bottom)]


def grown(tube: Tube, by: float) -> Tube:
    return [Ring(ring.y, ring.width + by, ring.depth + by, ring.x, ring.z) for ring in tube]


def fill_tube(canvas: Canvas, view: View, tube: Tube, part: int, light: float = 1.0, hem: bool = False) -> None:
    """Fills the outline with round lower edge, its side away from the light shaded. hem: with a dark lower edge."""
    left, right, middle = [], [], []
    for ring in tube:
        x, y = view.point(ring.x, ring.y, ring.z)
        half = view.half_width(ring) * view.scale
        left.append((x - half, y))
        right.append((x + half, y))
        middle.append((x + view.light * half * -0.45, y))
    last = tube[-1]
    x, y = view.point(last.x, last.y, last.z)
    half = view.half_width(last) * view.scale
    sag = LOOKING_DOWN * hypot(last.depth * cos(view.yaw), last.width * sin(view.yaw)) * view.scale
    edge = [(x + half * 0.6, y + sag * 0.8), (x, y + sag), (x - half * 0.6, y + sag * 0.8)]
    canvas.fill(right + edge + left[::-1], part, light)
    dark = left if view.light > 0 else right
    canvas.shade(dark + middle[::-1], light * 0.80)
    if hem:
        canvas.crease([right[-1], *edge, left[-1]], HEM_WIDTH * view.scale, light * HEM_LIGHT)


def surface(view: View, ring: Ring, angle: float) -> Point:
    """Returns the pixel of a point on a tube (angle 0 = front of the body); if hidden, on the nearest outline."""
    return _on_ring(view, ring, _turned(view, ring, angle))


def patch(
    canvas: Canvas, view: View, tube: Tube, angles: tuple[float, float], heights: tuple[float, float], part: int
) -> None:
    """Fills a piece of a tube's surface, between two angles (ascending, less than pi apart) and two heights."""
    half = (angles[1] - angles[0]) / 2
    first, second = [], []
    for ring in slice_tube(tube, *heights):
        turned = _turned(view, ring, (angles[0] + angles[1]) / 2)
        start, end = max(-pi / 2, turned - half), min(pi / 2, turned + half)
        if start < end:
            first.append(_on_ring(view, ring, start))
            second.append(_on_ring(view, ring, end))
    if len(first) > 1:
        canvas.fill(first + second[::-1], part)


def _turned(view: View, ring: Ring, angle: float) -> float:
    """Returns the angle from the ring's point nearest to the camera, -pi .. pi; visible within +-pi / 2."""
    return (angle - _nearest(view, ring) + pi) % (2 * pi) - pi


def _on_ring(view: View, ring: Ring, turned: float) -> Point:
    angle = _nearest(view, ring) + max(-pi / 2, min(pi / 2, turned))
    return view.point(ring.x + ring.width * sin(angle), ring.y, ring.z + ring.depth * cos(angle))


def _nearest(view: View, ring: Ring) -> float:
    return -atan2(ring.width * sin(view.yaw), ring.depth * cos(view.yaw))


def limb(
    canvas: Canvas, view: View, ends: tuple[Point3, Point3], radii: tuple[float, float], part: int, light: float = 1.0
) -> None:
    """Fills a straight tapered piece of an arm or a leg with round ends; radii in statures."""
    canvas.disc(view.point(*ends[0]), radii[0] * view.scale, part, light)
    canvas.disc(view.point(*ends[1]), radii[1] * view.scale, part, light)
    _cone(canvas, view, ends, radii, part, light)


def cuff(
    canvas: Canvas, view: View, ends: tuple[Point3, Point3], radii: tuple[float, float], part: int, light: float = 1.0
) -> None:
    """Fills a `limb` with straight ends and a dark edge at the second one, where a sleeve or trouser leg ends."""
    edge = _cone(canvas, view, ends, radii, part, light)
    canvas.crease(edge, HEM_WIDTH * view.scale, light * HEM_LIGHT)


def _cone(
    canvas: Canvas, view: View, ends: tuple[Point3, Point3], radii: tuple[float, float], part: int, light: float
) -> list[Point]:
    """Fills the piece between two joints, its side away from the light shaded; returns its far edge."""
    (ax, ay), (bx, by) = view.point(*ends[0]), view.point(*ends[1])
    ra, rb = radii[0] * view.scale, radii[1] * view.scale
    length = max(hypot(bx - ax, by - ay), 1e-6)
    nx, ny = (by - ay) / length, (ax - bx) / length
    one = [(ax + nx * ra, ay + ny * ra), (bx + nx * rb, by + ny * rb)]
    two = [(ax - nx * ra, ay - ny * ra), (bx - nx * rb, by - ny * rb)]
    canvas.fill(one + two[::-1], part, light)
    dark = one if (nx > 0) == (view.light < 0) else two
    canvas.shade([dark[0], dark[1], (bx, by), (ax, ay)], light * 0.82)
    return [one[1], two[1]]


def between(start: Point3, end: Point3, share: float) -> Point3:
    x, y, z = (a + share * (b - a) for a, b in zip(start, end, strict=True))
    return x, y, z
