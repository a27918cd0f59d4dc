"""What several kinds of corruption are made of: blurs, magnification and noise of many scales."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

RED_GREEN_BLUE = np.array([0.299, 0.587, 0.114], np.float32)  # of luma (ITU-R BT.601)


def luma(image: np.ndarray) -> np.ndarray:
    """Returns (H, W, 1): the lightness of an image, or an image of one channel itself."""
    return image if image.shape[2] == 1 else (image @ RED_GREEN_BLUE)[..., None]


def gaussian(image: np.ndarray, sigma: float, truncate: float = 4.0) -> np.ndarray:
    """Returns (H, W, ...) blurred over its first two dimensions; beyond its border stand its outermost pixels."""
    return ndimage.gaussian_filter(image, sigma, mode="nearest", truncate=truncate, axes=(0, 1))


def motion_blurred(image: np.ndarray, radius: int, sigma: float, degrees: float) -> np.ndarray:
    """Returns (H, W, C) float32 smeared in one direction: 2 * radius + 1 copies, each a pixel further along it.

    Their weights are a Gaussian's, the largest that of the image itself. `degrees`: 0 to the left, 90 upwards.
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    weights /= weights.sum()
    down, right = (
        -np.ceil(steps * part - 0.5).astype(int) for part in (np.sin(np.deg2rad(degrees)), np.cos(np.deg2rad(degrees)))
    )
    most = len(steps)
    padded = np.pad(image, ((most, most), (most, most), (0, 0)), mode="edge")
    height, width = image.shape[:2]
    blurred = np.zeros(image.shape, np.float32)
    for y, x, weight in zip(most - down, most - right, weights.astype(np.float32), strict=True):
        blurred += weight * padded[y : y + height, x : x + width]
    return blurred


def magnified(image: np.ndarray, factor: float) -> np.ndarray:
    """Returns (H, W, ...) float32: the middle of an image, `factor` >= 1 times as large, interpolated linearly."""
    return magnify_axis(magnify_axis(image, factor, 0), factor, 1)


def magnify_axis(image: np.ndarray, factor: float, axis: int) -> np.ndarray:
    size = image.shape[axis]
    kept = int(np.ceil(size / factor))
    # The last of the magnified pixels falls on the last that is kept, as in scipy.ndimage.zoom.
    places = np.arange(size) * ((kept - 1) / max(round(kept * factor) - 1, 1)) + (size - kept) // 2
    first = places.astype(int)
    second = np.minimum(first + 1, size - 1)
    share = (places - first).astype(np.float32).reshape([-1 if own == axis else 1 for own in range(image.ndim)])
    lower, upper = image.take(first, axis), image.take(second, axis)
    return lower + share * (upper - lower)


def plasma(side: int, decay: float, random: np.random.Generator) -> np.ndarray:
    """Returns (side, side) float32 in 0-1: clouds, by the diamond-square algorithm (Fournier et al., 1982).

    side: a power of two. Each halving of the grid divides the noise by decay^2. Opposite borders fit each other.
    """
    heights = np.zeros((side, side))
    step, amplitude = side, 100.0

    def middle(*neighbors: np.ndarray) -> np.ndarray:
        mean = sum(neighbors[1:], neighbors[0]) / 4
        return mean + amplitude * random.uniform(-amplitude, amplitude, mean.shape)

    while step >= 2:
        half = step // 2
        corners = heights[::step, ::step]
        below = np.roll(corners, -1, 0)
        centers = middle(corners, below, np.roll(corners, -1, 1), np.roll(below, -1, 1))
        heights[half::step, half::step] = centers
        heights[::step, half::step] = middle(centers, np.roll(centers, 1, 0), corners, np.roll(corners, -1, 1))
        heights[half::step, ::step] = middle(centers, np.roll(centers, 1, 1), corners, below)
        step, amplitude = half, amplitude / decay
    heights -= heights.min()
    return (heights / heights.max()).astype(np.float32)


def side_for(image: np.ndarray) -> int:
    """Returns the smallest power of two that is at least the image's height and width, and 2."""
    return max(2, 1 << (max(image.shape[:2]) - 1).bit_length())
