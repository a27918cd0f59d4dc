"""The derivation that blurs or sharpens."""

from __future__ import annotations

import numpy as np
from nvidia.dali import fn, types
from nvidia.dali.data_node import DataNode
from nvidia.dali.types import DALIDataType

from dali_ops.derive.sampling import first_parameter

SMOOTHING = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256  # binomial, about a Gaussian of one pixel
ITSELF = np.eye(5)[2][:, None] * np.eye(5)[2]
SHARPNESS_LIMITS = (-1.0, 1.5)  # -1: smoothed, 0: as it is, above: as much of what smoothing removes is added


def sample_sharpness(generator: np.random.Generator, count: int) -> np.ndarray:
    """Returns (count, 3) float32: an amount, uniform in SHARPNESS_LIMITS, 0, 0."""
    return first_parameter(generator.uniform(*SHARPNESS_LIMITS, size=count))


def sharpness(image: DataNode, parameters: DataNode) -> DataNode:
    """v + a (v - smoothed v): blurs for a < 0, sharpens for a > 0, with a random a of -1 to 1.5."""
    detail = types.Constant((ITSELF - SMOOTHING).astype(np.float32))
    kernel = types.Constant(ITSELF.astype(np.float32)) + detail * parameters[0]
    return fn.filter(image, kernel.gpu() if image.device == "gpu" else kernel, dtype=DALIDataType.UINT8)
