"""The NumPy twin of every way of mixing: (derived, captured, four whole numbers) -> mixed, uint8 HWC."""

from __future__ import annotations

import numpy as np

from dali_ops.mixing import PATCHES_ACROSS, PATCHES_DOWN


def patches(derived: np.ndarray, captured: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    height, width, _ = derived.shape
    mixed = derived.copy()
    for row in range(PATCHES_DOWN):
        for column in range(PATCHES_ACROSS):
            if numbers[0] >> (row * PATCHES_ACROSS + column) & 1:
                down = slice(row * height // PATCHES_DOWN, (row + 1) * height // PATCHES_DOWN)
                across = slice(column * width // PATCHES_ACROSS, (column + 1) * width // PATCHES_ACROSS)
                mixed[down, across] = captured[down, across]
    return mixed


def cutmix(derived: np.ndarray, captured: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    top, left, height, width = numbers
    mixed = derived.copy()
    mixed[top : top + height, left : left + width] = captured[top : top + height, left : left + width]
    return mixed


MIX = {"patches": patches, "cutmix": cutmix}
