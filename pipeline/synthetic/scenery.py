"""Where images are taken: the scene behind the people, and the look of the camera that sees it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from pipeline.synthetic.body.appearance import Material, Part, color_of

SCENE_STREAM = 2
CAMERA_STREAM = 3
SCENE_SIZE = (720, 320)  # width, height in image pixels; an image shows a window of it
MARGIN = 40  # how far a window may lie above or below its usual place
KINDS = ("visible", "infrared", "thermal")


@dataclass(frozen=True)
class CameraLook:
    """Effects of a camera on every image; `tint` and `gain` multiply light, `gamma` bends it."""

    tint: tuple[float, float, float]
    gain: float
    gamma: float
    blur: float  # pixels
    noise: float  # standard deviation on the 0..1 scale
    vignette: float
    shadow: float  # darkness of the shadow on the floor
    side_light: float  # contrast between the two sides of a body
    height: tuple[int, int]  # range of image heights in pixels


@lru_cache(maxsize=64)
def camera_look(seed: int, camera: int, kind: str) -> CameraLook:
    """Returns the look of one camera: a pure function of its arguments. kind: one of `KINDS`."""
    rng = np.random.default_rng([seed, CAMERA_STREAM, camera, KINDS.index(kind)])
    low = int(rng.integers(154, 173))
    height, vignette = (low, low + 28), float(rng.uniform(0.0, 0.3))
    if kind == "visible":
        warm, green = rng.uniform(-0.16, 0.16), rng.uniform(-0.05, 0.05)
        return CameraLook(
            tint=(1 + warm, 1 + green, 1 - warm),
            gain=float(rng.uniform(0.9, 1.3)),
            gamma=float(rng.uniform(0.85, 1.2)),
            blur=float(rng.uniform(0.2, 0.9)),
            noise=float(rng.uniform(0.012, 0.03)),
            shadow=float(rng.uniform(0.2, 0.5)),
            side_light=float(rng.uniform(0.15, 0.4)),
            height=height,
            vignette=vignette,
        )
    if kind == "infrared":
        return CameraLook(
            tint=(1.0, 1.0, 1.0),
            gain=float(rng.uniform(0.75, 1.1)),
            gamma=float(rng.uniform(0.8, 1.15)),
            blur=float(rng.uniform(0.4, 1.0)),
            noise=float(rng.uniform(0.02, 0.045)),
            shadow=float(rng.uniform(0.0, 0.25)),
            side_light=float(rng.uniform(0.1, 0.25)),
            height=height,
            vignette=float(rng.uniform(0.3, 0.6)),
        )
    return CameraLook(
        tint=(1.0, 1.0, 1.0),
        gain=1.0,
        gamma=1.0,
        blur=1.6,
        noise=0.02,
        shadow=0.0,
        side_light=0.05,
        height=height,
        vignette=vignette,
    )


def random_material(rng: np.random.Generator, kind_of_thing: str = "object") -> Material:
    """Samples a material of walls, floors and objects: grayish, dim in infrared, cool."""
    gray = rng.uniform(0.25, 0.85) if kind_of_thing == "surface" else rng.uniform(0.08, 0.9)
    spread = 0.05 if kind_of_thing == "surface" or rng.random() < 0.75 else 0.25
    color = color_of(float(np.clip(gray + rng.uniform(-spread, spread), 0, 1)) for _ in range(3))
    return Material(color, float(rng.uniform(0.08, 0.55)), float(rng.uniform(0.08, 0.26)))


def material_table(materials: dict[int, Material] | dict[Part, Material], kind: str) -> np.ndarray:
    """Returns (256, 3) uint8: the color of each index in this kind of image; black without a material."""
    table = np.zeros((256, 3), np.float32)
    for index, material in materials.items():
        table[int(index)] = getattr(material, kind)
    return np.rint(table * 255).astype(np.uint8)


@lru_cache(maxsize=32)
def scene(seed: int, place: int, kind: str) -> Image.Image:
    """Returns the (720 x 320) RGB image of an empty place, with the same things for every kind of camera."""
    rng = np.random.default_rng([seed, SCENE_STREAM, place])
    width, height = SCENE_SIZE
    canvas = Image.new("L", SCENE_SIZE, 1)
    pen = ImageDraw.Draw(canvas)
    materials = {1: random_material(rng, "surface")}
    horizon = int(rng.uniform(0.30, 0.62) * (height - 2 * MARGIN)) + MARGIN
    _add_wall(rng, pen, materials, horizon)
    _add_floor(rng, pen, materials, horizon)
    for _ in range(int(rng.integers(8, 16))):
        x, base = rng.uniform(0, width), horizon + rng.uniform(-6, 60)
        wide, tall = rng.uniform(8, 50), rng.uniform(20, 90)
        _box(rng, pen, materials, (x, base - tall, x + wide, base))
    image = Image.fromarray(material_table(materials, kind)[np.asarray(canvas)])
    image = image.filter(ImageFilter.GaussianBlur(2.5 if kind == "thermal" else 0.8))
    rough = 0.04 if kind == "thermal" else 0.12
    values = np.asarray(image, np.float32) * (1 + rough * _clouds(rng, height, width, 40)[..., None])
    values *= 1 + rough * 0.5 * _clouds(rng, height, width, 4)[..., None]
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _add_wall(rng: np.random.Generator, pen: ImageDraw.ImageDraw, materials: dict, horizon: int) -> None:
    """Adds panels, doors, windows or pillars, side by side above the horizon."""
    x = 0.0
    while x < SCENE_SIZE[0]:
        wide = rng.uniform(20, 110)
        if rng.random() < 0.6:
            _box(
                rng, pen, materials, (x, rng.uniform(-40, 0.7 * horizon), x + wide * rng.uniform(0.3, 0.9), horizon + 2)
            )
        x += wide
    skirting = len(materials) + 1
    materials[skirting] = random_material(rng)
    pen.rectangle((0, horizon - 4, SCENE_SIZE[0], horizon), fill=skirting)


def _add_floor(rng: np.random.Generator, pen: ImageDraw.ImageDraw, materials: dict, horizon: int) -> None:
    """Adds a floor with joints that run towards the viewer, or stripes across."""
    floor, joint = len(materials) + 1, len(materials) + 2
    base = random_material(rng, "surface")
    materials[floor] = base
    darker = rng.uniform(0.75, 1.15)
    color = color_of(min(1.0, channel * darker) for channel in base.visible)
    materials[joint] = Material(color, min(1.0, base.infrared * rng.uniform(0.8, 1.3)), base.thermal)
    width, height = SCENE_SIZE
    pen.rectangle((0, horizon, width, height), fill=floor)
    for step in np.linspace(-width, 2 * width, int(rng.integers(14, 40))):
        pen.line((width / 2 + (step - width / 2) * 0.45, horizon, step, height), fill=joint, width=2)
    y, step = float(horizon), float(rng.uniform(6, 12))
    while y < height:
        pen.line((0, y, width, y), fill=joint, width=1)
        y, step = y + step, step * 1.35


def _box(rng: np.random.Generator, pen: ImageDraw.ImageDraw, materials: dict, box: tuple) -> None:
    """Adds a thing with two faces."""
    index = len(materials) + 1
    materials[index], materials[index + 1] = random_material(rng), random_material(rng)
    pen.rectangle(box, fill=index)
    x0, y0, x1, y1 = box
    inset = min(4.0, (x1 - x0) * 0.2)
    if y1 - y0 > 2 * inset + 2:
        pen.rectangle((x0 + inset, y0 + inset, x1 - inset, y0 + (y1 - y0) * rng.uniform(0.4, 0.9)), fill=index + 1)


def _clouds(rng: np.random.Generator, height: int, width: int, cell: int) -> np.ndarray:
    """Returns (height, width) float32 smooth noise of about unit deviation, with bumps of `cell` pixels."""
    coarse = rng.standard_normal((height // cell + 2, width // cell + 2)).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
