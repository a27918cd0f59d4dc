"""Blur: of a lens, of frosted glass, of a moving or approaching camera."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import ndimage, signal

from pipeline.corruptions.filters import gaussian, magnified, motion_blurred


def gaussian_blur(image: np.ndarray, level: int, random: np.random.Generator) -> np.ndarray:
    return gaussian(image, (1, 2, 3, 4, 6)[level - 1])


def defocus_blur(image: np.ndarray, level: int, random: np.random.Generator) -> np.ndarray:
    kernel = disk(*((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))[level - 1])
    border = len(kernel) // 2
    padded = np.pad(image, ((border, border), (border, border), (0, 0)), mode="reflect")
    return signal.fftconvolve(padded, kernel[..., None], mode="valid", axes=(0, 1))


@lru_cache
def disk(radius: int, sigma: float) -> np.ndarray:
    """Returns (S, S) float32: a disk of sum 1, its border then softened by a Gaussian of `sigma` pixels."""
    half = max(radius, 8)
    places = np.arange(-half, half + 1)
    whole = (places[:, None] ** 2 + places**2 <= radius**2).astype(np.float64)
    whole /= whole.sum()
    reach = 1 if radius <= 8 else 2  # of the Gaussian
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    for axis in (0, 1):
        whole = ndimage.correlate1d(whole, weights, axis, mode="mirror")
    return whole.astype(np.float32)


def glass_blur(image: np.ndarray, level: int, random: np.random.Generator) -> np.ndarray:
    sigma, most, rounds = ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))[level - 1]
    shuffled = np.floor(gaussian(image, sigma) * 255) / np.float32(255)
    flat = shuffled.reshape(-1, image.shape[2])
    for _ in range(rounds):
        moves = random.integers(-most, most, (2, *image.shape[:2]))
        flat = flat[origins(moves, most)]
    return gaussian(flat.reshape(image.shape), sigma)


def origins(moves: np.ndarray, most: int) -> np.ndarray:
    """Returns (H * W,) int64: the pixel that each one shows when all have copied another, one after the other.

    The last pixel begins, row by row upwards; each copies the one `moves` (2, H, W) rows and columns from it, as that
    is by then. The first `most` + 1 rows and columns and the last `most` - 1 copy none. (The released code means to
    swap the two pixels; with images of three channels it copies.)
    """
    _, height, width = moves.shape
    places = np.arange(height * width)
    rows, columns = np.divmod(places, width)
    moving = (rows > most) & (rows <= height - most) & (columns > most) & (columns <= width - most)
    copied = np.where(moving, places + moves[0].ravel() * width + moves[1].ravel(), places)
    # One that copies a pixel behind it, which has copied already, shows what that one does.
    behind = (copied > places) & moving[copied]
    leads_to = np.where(behind, copied, places)
    while not np.array_equal(further := leads_to[leads_to], leads_to):
        leads_to = further
    return copied[leads_to]


def motion_blur(image: np.ndarray, level: int, random: np.random.Generator) -> np.ndarray:
    radius, sigma = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))[level - 1]
    return motion_blurred(image, radius, sigma, random.uniform(-45, 45))


def zoom_blur(image: np.ndarray, level: int, random: np.random.Generator) -> np.ndarray:
    end, step = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))[level - 1]
    factors = np.arange(1, end, step)
    return sum((magnified(image, factor) for factor in factors), image) / np.float32(len(factors) + 1)
