"""Noise: of a sensor, of few photons, of bits, and of coherent light."""

from __future__ import annotations

import numpy as np


def gaussian_noise(image: np.ndarray, level: int, random: np.random.Generator) -> np.ndarray:
    deviation = (0.08, 0.12, 0.18, 0.26, 0.38)[level - 1]
    return image + deviation * random.standard_normal(image.shape, np.float32)


def shot_noise(image: np.ndarray, level: int, random: np.random.Generator) -> np.ndarray:
    photons = (60, 25, 12, 5, 3)[level - 1]  # of a white pixel
    return random.poisson(image * photons).astype(np.float32) / photons


def impulse_noise(image: np.ndarray, level: int, random: np.random.Generator) -> np.ndarray:
    """Each number is replaced with this probability: by the darkest or the brightest level, as likely."""
    probability = (0.03, 0.06, 0.09, 0.17, 0.27)[level - 1]
    drawn = random.random(image.shape, np.float32)
    return np.where(drawn < probability, (drawn < probability / 2).astype(np.float32), image)


def speckle_noise(image: np.ndarray, level: int, random: np.random.Generator) -> np.ndarray:
    deviation = (0.15, 0.2, 0.35, 0.45, 0.6)[level - 1]
    return image + image * (deviation * random.standard_normal(image.shape, np.float32))
