"""What cameras and storage do to an image: contrast, saturation, distortion, large pixels, compression."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image
from scipy import ndimage


def contrast(image: np.ndarray, level: int, random: np.random.Generator) -> np.ndarray:
    factor = (0.4, 0.3, 0.2, 0.1, 0.05)[level - 1]
    mean = image.mean(axis=(0, 1), keepdims=True)
    return (image - mean) * factor + mean


def saturate(image: np.ndarray, level: int, random: np.random.Generator) -> np.ndarray:
    """The saturation of HSV times a factor, plus a constant; an image of one channel has none and stays as it is.

    A gray pixel, which has no hue, gets that of red.
    """
    factor, more = ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2))[level - 1]
    value = image.max(axis=2, keepdims=True)
    missing = value - image  # to the brightest channel
    most = missing.max(axis=2, keepdims=True)
    saturation = most / np.maximum(value, np.finfo(np.float32).tiny)
    wanted = np.clip(saturation * factor + more, 0, 1)
    gray = most == 0
    red = np.array([0, 1, 1], np.float32)[: image.shape[2]]
    return value - value * wanted * np.where(gray, red, missing / np.where(gray, 1, most))


def elastic_transform(image: np.ndarray, level: int, random: np.random.Generator) -> np.ndarray:
    """Each pixel is taken from a place near it, by smooth random shifts of up to a few pixels."""
    strength = 250 * (0.05, 0.065, 0.085, 0.1, 0.12)[level - 1]
    height, width = image.shape[:2]
    most = 0.005 * height
    sigma = (0.01 * height, 0.01 * width)
    shifts = [
        strength * ndimage.gaussian_filter(random.uniform(-most, most, (height, width)), sigma, truncate=3)
        for _ in range(2)
    ]
    places = np.indices((height, width)) + shifts
    moved = [ndimage.map_coordinates(channel, places, order=1, mode="reflect") for channel in np.moveaxis(image, 2, 0)]
    return np.stack(moved, axis=2)


def pixelate(image: np.ndarray, level: int, random: np.random.Generator) -> np.ndarray:
    share = (0.6, 0.5, 0.4, 0.3, 0.25)[level - 1]
    pillow = to_pillow(image)
    small = pillow.resize([max(int(side * share), 1) for side in pillow.size], Image.Resampling.BOX)
    return from_pillow(small.resize(pillow.size, Image.Resampling.NEAREST))


def jpeg_compression(image: np.ndarray, level: int, random: np.random.Generator) -> np.ndarray:
    stored = BytesIO()
    to_pillow(image).save(stored, "JPEG", quality=(25, 18, 15, 10, 7)[level - 1])
    return from_pillow(Image.open(stored))


def to_pillow(image: np.ndarray) -> Image.Image:
    levels = np.rint(image * 255).astype(np.uint8)
    return Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)


def from_pillow(image: Image.Image) -> np.ndarray:
    levels = np.asarray(image)
    return (levels[..., None] if levels.ndim == 2 else levels) / np.float32(255)
