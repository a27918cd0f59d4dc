"""The kinds of corruption by name, and a corrupted image as a function of the image, a seed and its name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from pipeline.corruptions.blur import defocus_blur, gaussian_blur, glass_blur, motion_blur, zoom_blur
from pipeline.corruptions.digital import contrast, elastic_transform, jpeg_compression, pixelate, saturate
from pipeline.corruptions.noise import gaussian_noise, impulse_noise, shot_noise, speckle_noise
from pipeline.corruptions.spatter import spatter
from pipeline.corruptions.weather import brightness, fog, frost, rain, snow

Corruption = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]

FAMILIES: dict[str, tuple[Corruption, ...]] = {
    "noise": (gaussian_noise, shot_noise, impulse_noise, speckle_noise),
    "blur": (defocus_blur, glass_blur, motion_blur, zoom_blur, gaussian_blur),
    "weather": (snow, frost, fog, brightness, spatter, rain),
    "digital": (contrast, elastic_transform, pixelate, jpeg_compression, saturate),
}
CORRUPTIONS: dict[str, Corruption] = {kind.__name__: kind for kinds in FAMILIES.values() for kind in kinds}
RANDOM = "random"  # a kind that is drawn for each image
LEVELS = range(1, 6)
# What float32 makes of a whole level k, k / 255 * 255, may be a little less; fractions are cut off as the authors do.
TOLERANCE = np.float32(1e-3)


def corrupt(image: np.ndarray, kind: str, level: int | None, seed: int, name: str) -> np.ndarray:
    """Returns a corrupted copy of an image (H, W, C) uint8 of one or three channels.

    kind: of CORRUPTIONS, or RANDOM, which draws it; level: of LEVELS, or None, which draws it. All that is drawn is a
    function of kind, level, seed and name. Every kind and every level is as likely.
    """
    drawn = generator(kind, level, seed, name)
    if kind == RANDOM:
        kind = list(CORRUPTIONS)[drawn.integers(len(CORRUPTIONS))]
    if level is None:
        level = int(drawn.choice(LEVELS))
    corrupted = CORRUPTIONS[kind](image / np.float32(255), level, drawn)
    return (corrupted.clip(0, 1) * 255 + TOLERANCE).astype(np.uint8)


def generator(*what: object) -> np.random.Generator:
    """Returns a generator of random numbers that is the same for the same words and numbers, on every machine with one
    version of NumPy."""
    digest = hashlib.sha256("\0".join(map(str, what)).encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, "<u4"))
