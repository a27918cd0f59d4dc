"""One image: a person in a pose, in a scene, seen by a camera."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from pipeline.synthetic.body.appearance import Appearance, Part
from pipeline.synthetic.body.assembly import render_body
from pipeline.synthetic.body.poses import Pose, sample_pose
from pipeline.synthetic.body.tubes import NEUTRAL, Canvas, View
from pipeline.synthetic.identities import make_appearance
from pipeline.synthetic.scenery import (
    KINDS,
    SCENE_SIZE,
    CameraLook,
    camera_look,
    material_table,
    random_material,
    scene,
)

IMAGE_STREAM = 4
NOISE_STREAM = 5
SUPERSAMPLE = 3  # rendered so much larger, for smooth edges
ASPECT = 0.40  # width of a crop to its height
GAIN_SPREAD = {"visible": 0.2, "infrared": 0.25, "thermal": 0.05}  # of the exposure, on the scale of logarithms
SOLID = [0] + [255] * 255  # table: part -> is it something
MODELLING = {"visible": 1.0, "infrared": 0.85, "thermal": 0.3}  # how strongly light and shade model a body


@dataclass(frozen=True)
class ImageKey:
    """All that an image depends on. kind: visible, infrared (reflected near-infrared) or thermal (emitted heat)."""

    seed: int
    identity: int
    camera: int
    number: int
    kind: str
    place: int  # number of the scene; two cameras may share one
    size: tuple[int, int] | None = None  # (width, height) in pixels; None: the camera's own, which varies


def render_image(key: ImageKey) -> Image.Image:
    """Returns the RGB image of this key, always the same; infrared and thermal ones have three equal channels."""
    rng = np.random.default_rng([key.seed, IMAGE_STREAM, key.identity, key.camera, key.number, KINDS.index(key.kind)])
    appearance, look = make_appearance(key.seed, key.identity), camera_look(key.seed, key.camera, key.kind)
    size = key.size or _crop_size(rng, look)
    pose = sample_pose(rng, appearance)
    canvas = Canvas(size[0] * SUPERSAMPLE, size[1] * SUPERSAMPLE)
    view, feet = _frame(rng, appearance, pose, size)
    render_body(canvas, appearance, pose, view)
    materials = dict(appearance.materials)
    if rng.random() < 0.15:
        materials[Part.OBSTACLE], materials[Part.OBSTACLE_SECOND] = random_material(rng), random_material(rng)
        _render_obstacle(rng, canvas, size)
    body, cover = _body_pixels(rng, canvas, material_table(materials, key.kind), look, pose.light, key.kind)
    ground = _background(rng, key, size, look, feet)
    return _expose(rng, body + ground * (1 - cover), look, key.kind)


def jpeg_quality(key: ImageKey) -> int:
    """Returns 78 .. 95, different from image to image."""
    rng = np.random.default_rng([key.seed, NOISE_STREAM, key.identity, key.camera, key.number])
    return int(rng.integers(78, 96))


def _crop_size(rng: np.random.Generator, look: CameraLook) -> tuple[int, int]:
    height = int(rng.integers(look.height[0], look.height[1] + 1))
    return round(height * ASPECT * rng.uniform(0.95, 1.08)), height


def _frame(rng: np.random.Generator, appearance: Appearance, pose: Pose, size: tuple[int, int]) -> tuple[View, float]:
    """Places the person in the crop as a detector would, and returns the row of the feet in pixels, too."""
    width, height = size
    share = float(np.clip(rng.normal(0.89, 0.045), 0.74, 1.06)) * appearance.build.stature
    scale = min(share * height, width / 0.40)
    slack = height - scale
    top = slack * 0.5 + rng.normal(0, 0.018) * height
    left = width * (0.5 + rng.normal(0, 0.045))
    view = View(pose.yaw, scale * SUPERSAMPLE, left * SUPERSAMPLE, top * SUPERSAMPLE, pose.light)
    return view, top + scale


def _render_obstacle(rng: np.random.Generator, canvas: Canvas, size: tuple[int, int]) -> None:
    """Renders an obstacle before the person: a counter or plant below, a post or a passer-by at a side."""
    width, height = size[0] * SUPERSAMPLE, size[1] * SUPERSAMPLE
    if rng.random() < 0.5:
        top = height * rng.uniform(0.68, 0.86)
        left, right = sorted(rng.uniform(-0.3, 1.3, 2) * width)
        right = max(right, left + 0.4 * width)
        canvas.box((left, top, right, height), Part.OBSTACLE)
        canvas.box((left, top, right, top + 4 * SUPERSAMPLE), Part.OBSTACLE_SECOND)
        return
    side = 1 if rng.random() < 0.5 else -1
    edge = width * (0.5 + side * rng.uniform(0.22, 0.42))
    far = edge + side * width * rng.uniform(0.1, 0.5)
    top = height * rng.uniform(-0.1, 0.35)
    canvas.box((edge, top, far, height), Part.OBSTACLE)
    canvas.box((edge, top, edge + side * 3 * SUPERSAMPLE, height), Part.OBSTACLE_SECOND, 0.8)


def _body_pixels(
    rng: np.random.Generator, canvas: Canvas, table: np.ndarray, look: CameraLook, light_from: int, kind: str
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (H, W, C) lit colors of the person times cover, and (H, W, 1) cover, float32 in 0..1; C: `_values`."""
    if kind == "visible":
        palette = canvas.parts.copy()
        palette.putpalette(table.tobytes())
        painted = palette.convert("RGB")
    else:
        painted = canvas.parts.point(table[:, 0].tolist())
    colors = _values(painted.reduce(SUPERSAMPLE))
    covered = canvas.parts.point(SOLID).reduce(SUPERSAMPLE)
    lights = canvas.lights.reduce(SUPERSAMPLE).filter(ImageFilter.GaussianBlur(1.3))
    light = np.asarray(lights, np.float32) * (1 / NEUTRAL)
    light = 1 + (light - 1) * MODELLING[kind]
    soft = np.asarray(covered.filter(ImageFilter.BoxBlur(covered.width // 14)), np.float32) * (1 / 255)
    shift = max(1, covered.width // 12)
    slope = np.roll(soft, shift, axis=1) - np.roll(soft, -shift, axis=1)
    light = light * (0.80 + 0.24 * soft - look.side_light * light_from * slope)
    light *= 1 + 0.035 * _texture("cloth", rng, *light.shape)
    cover = np.asarray(covered, np.float32)[..., None] * (1 / 255)
    return colors * light[..., None], cover


def _values(image: Image.Image) -> np.ndarray:
    """Returns (H, W, C) float32 in 0..1: three channels of a visible image, one of others, which are gray."""
    return np.asarray(image, np.float32).reshape(image.height, image.width, -1) * (1 / 255)


def _background(
    rng: np.random.Generator, key: ImageKey, size: tuple[int, int], look: CameraLook, feet: float
) -> np.ndarray:
    """Returns (H, W, C) float32 in 0..1 (C: `_values`): part of the scene, with clutter and the person's shadow."""
    width, height = size
    whole = scene(key.seed, key.place, key.kind)
    left = int(rng.integers(0, SCENE_SIZE[0] - width))
    top = int(np.clip((SCENE_SIZE[1] - height) / 2 + rng.normal(0, 10), 0, SCENE_SIZE[1] - height))
    window = whole.crop((left, top, left + width, top + height))
    pen = ImageDraw.Draw(window)
    for _ in range(int(rng.integers(0, 4))):
        x, y = rng.uniform(-0.2, 1) * width, rng.uniform(0.1, 0.7) * height
        box = (x, y, x + rng.uniform(0.1, 0.4) * width, y + rng.uniform(0.05, 0.3) * height)
        value = getattr(random_material(rng), key.kind)
        color = tuple(int(255 * channel) for channel in (value if key.kind == "visible" else (value,) * 3))
        pen.rectangle(box, fill=color) if rng.random() < 0.7 else pen.ellipse(box, fill=color)
    if key.kind != "visible":
        window = window.getchannel(0)
    ground = _values(window.filter(ImageFilter.BoxBlur(1)))
    if look.shadow:
        across = np.exp(-(((np.arange(width, dtype=np.float32) / width - 0.5) / 0.28) ** 2))
        down = np.exp(-(((np.arange(height, dtype=np.float32) - feet) / (0.035 * height)) ** 2))
        ground = ground * (1 - look.shadow * down[:, None] * across)[..., None]
    return ground


def _expose(rng: np.random.Generator, light: np.ndarray, look: CameraLook, kind: str) -> Image.Image:
    """Exposes the light (H, W, C) as the camera does: gain, tint, vignette, gamma, blur, grain."""
    height, width, _ = light.shape
    gain = look.gain * float(np.exp(rng.normal(0, GAIN_SPREAD[kind])))
    falloff = _vignette(width, height)
    spot = gain * (1 - look.vignette * falloff)
    light = light * (spot[..., None] if kind != "visible" else spot[..., None] * np.array(look.tint, np.float32))
    light = np.clip(light, 0, 1) ** np.float32(look.gamma * np.exp(rng.normal(0, 0.08)))
    grain = np.stack([_texture("grain", rng, height, width) for _ in range(light.shape[2])], axis=2)
    image = Image.fromarray(
        (light[..., 0] * 255).astype(np.uint8) if kind != "visible" else (light * 255).astype(np.uint8)
    )
    image = image.filter(ImageFilter.GaussianBlur(look.blur * float(rng.uniform(0.7, 1.4))))
    values = np.asarray(image, np.float32).reshape(light.shape) + 255 * look.noise * grain
    values = np.clip(values, 0, 255).astype(np.uint8)
    return Image.fromarray(values if kind == "visible" else np.repeat(values, 3, axis=2))


@lru_cache(maxsize=64)
def _vignette(width: int, height: int) -> np.ndarray:
    x = np.linspace(-1, 1, width, dtype=np.float32)
    y = np.linspace(-1, 1, height, dtype=np.float32)
    return np.minimum(1, (x**2)[None, :] * 0.6 + (y**2)[:, None] * 0.6)


@lru_cache(maxsize=2)
def _tile(name: str) -> np.ndarray:
    """Returns (512, 512) float32 of unit deviation: white grain, or the soft vertical folds of cloth."""
    rng = np.random.default_rng([NOISE_STREAM, len(name)])
    tile = rng.standard_normal((512, 512)).astype(np.float32)
    if name == "cloth":
        tile = sum((np.roll(tile, shift, axis=0) for shift in range(9)), np.zeros_like(tile))
        tile = sum((np.roll(tile, shift, axis=1) for shift in range(4)), np.zeros_like(tile))
        tile /= tile.std()
    return tile


def _texture(name: str, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    tile = _tile(name)
    y, x = int(rng.integers(0, 512 - height)), int(rng.integers(0, 512 - width))
    return tile[y : y + height, x : x + width]
