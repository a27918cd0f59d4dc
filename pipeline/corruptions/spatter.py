"""Spattered water (levels 1 to 3) and mud (4 and 5) on the lens."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from pipeline.corruptions.filters import gaussian, luma

WATER = np.array([175, 238, 238], np.float32) / 255  # pale turquoise
MUD = np.array([63, 42, 20], np.float32) / 255
SLOPE = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])  # lights drops from one side
WEAK, STRONG = 50, 150  # gradients of an edge, in levels
REACH = 20  # pixels from the edge of a drop, beyond which it looks the same


def spatter(image: np.ndarray, level: int, random: np.random.Generator) -> np.ndarray:
    mean, deviation, sigma, least, strength = (
        (0.65, 0.3, 4, 0.69, 0.6),
        (0.65, 0.3, 3, 0.68, 0.6),
        (0.65, 0.3, 2, 0.68, 0.5),
        (0.65, 0.3, 1, 0.65, 1.5),
        (0.67, 0.4, 1, 0.65, 1.5),
    )[level - 1]
    liquid = gaussian(mean + deviation * random.standard_normal(image.shape[:2], np.float32), sigma)
    if level <= 3:
        amount = strength * shaded_drops(np.where(liquid < least, 0, liquid))[..., None]
        return image + amount * color_of(WATER, image)
    amount = gaussian((liquid > least).astype(np.float32), strength)[..., None]
    amount = np.where(amount < 0.8, 0, amount)
    return image * (1 - amount) + amount * color_of(MUD, image)


def color_of(liquid: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Returns the color of a liquid, or its lightness where the image has one channel."""
    return liquid if image.shape[2] == 3 else luma(liquid[None, None])[0, 0]


def shaded_drops(liquid: np.ndarray) -> np.ndarray:
    """Returns (H, W) float32, 0 to 1: how bright drops are, which are lit from one side; 0 where there are none."""
    thickness = np.floor(np.clip(liquid, 0, 1) * 255)
    from_edge = ndimage.distance_transform_edt(~edges(thickness)) if thickness.any() else np.zeros_like(thickness)
    height = equalized(ndimage.uniform_filter(np.minimum(from_edge, REACH), 3, mode="mirror"))
    lit = ndimage.correlate(height, SLOPE, mode="mirror").clip(0, 255)
    drops = thickness * ndimage.uniform_filter(lit, 3, mode="mirror")
    return (drops / max(drops.max(), 1)).astype(np.float32)


def equalized(image: np.ndarray) -> np.ndarray:
    """Returns an image of whole levels 0-255 (its fractions are cut off) with about as many pixels of each."""
    levels = image.astype(np.uint8)
    counts = np.bincount(levels.ravel(), minlength=256).cumsum()
    least = counts[counts > 0][0]
    if least == levels.size:
        return levels.astype(np.float64)
    return np.rint((counts - least).clip(0) * (255 / (levels.size - least)))[levels]


def edges(image: np.ndarray) -> np.ndarray:
    """Returns (H, W) bool: the edges of an image of levels 0-255 (Canny, PAMI 1986), without a blur before.

    A pixel is one where its gradient is the largest across the edge, above WEAK, and joined to one above STRONG.
    """
    down, right = (ndimage.sobel(image, axis, mode="nearest") for axis in (0, 1))
    gradient = np.abs(down) + np.abs(right)
    # The neighbors across the edge: left and right, above and below, or on one of the diagonals.
    steep = np.abs(down) > np.tan(np.deg2rad(67.5)) * np.abs(right)
    flat = np.abs(down) < np.tan(np.deg2rad(22.5)) * np.abs(right)
    around = np.pad(gradient, 1)
    height, width = image.shape

    def neighbor(y: int, x: int) -> np.ndarray:
        return around[1 + y : 1 + y + height, 1 + x : 1 + x + width]

    choices = [flat, steep, down * right >= 0]
    before = np.select(choices, [neighbor(0, -1), neighbor(-1, 0), neighbor(-1, -1)], neighbor(-1, 1))
    after = np.select(choices, [neighbor(0, 1), neighbor(1, 0), neighbor(1, 1)], neighbor(1, -1))
    weak = (gradient > WEAK) & (gradient > before) & (gradient >= after)
    parts, _ = ndimage.label(weak, np.ones((3, 3)))
    strong = np.zeros(parts.max() + 1, bool)
    strong[parts[weak & (gradient > STRONG)]] = True
    strong[0] = False
    return strong[parts]
