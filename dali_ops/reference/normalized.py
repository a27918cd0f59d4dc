"""The NumPy twin of every derivation of normalized images: (float32 3HW image, three numbers) -> float32 3HW image."""

from __future__ import annotations

import numpy as np


def identity(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return image


def random_channel(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return np.stack([image[int(numbers[0])]] * 3)


def green(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return np.stack([image[1]] * 3)


def gray(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return weighted_gray(image, np.array([0.2989, 0.5870, 0.1140]))


def weighted_gray(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    red, green, blue = image
    return np.stack([numbers[0] * red + numbers[1] * green + numbers[2] * blue] * 3).astype(np.float32)


def channel_shuffle(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return np.stack([image[int(number)] for number in numbers])


def channel_gains(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return np.stack([image[channel] * numbers[channel] for channel in range(3)])


DERIVE_NORMALIZED = {
    twin.__name__: twin
    for twin in (identity, random_channel, green, gray, weighted_gray, channel_shuffle, channel_gains)
}
