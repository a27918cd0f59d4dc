"""Derivations that change the colors of an image, uint8 HWC in and out.

As torchvision's ColorJitter, but for two: contrast is about the middle level and not the image's mean, and hue turns in
YIQ and not in HSV. Both then need no pass over the image before.
"""

from __future__ import annotations

import numpy as np
from nvidia.dali import fn, types
from nvidia.dali.data_node import DataNode
from nvidia.dali.types import DALIDataType

from dali_ops.derive.channels import LUMINANCE
from dali_ops.derive.sampling import first_parameter

FACTOR_LIMITS = (0.5, 1.5)  # of brightness, contrast and saturation: ColorJitter(0.5)
HUE_LIMIT = 0.1  # of a full turn, to either side
TO_YIQ = np.array([LUMINANCE, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)])  # of NTSC, of R, G and B
FROM_YIQ = np.linalg.inv(TO_YIQ)
UNTURNED = (1, 0, 0)
MIDDLE = 128.0  # level that contrast leaves as it is


def sample_factor(generator: np.random.Generator, count: int) -> np.ndarray:
    """Returns (count, 3) float32: a factor, uniform in FACTOR_LIMITS, 0, 0."""
    return first_parameter(generator.uniform(*FACTOR_LIMITS, size=count))


def sample_turn(generator: np.random.Generator, count: int) -> np.ndarray:
    """Returns (count, 3) float32: cosine and sine of an angle, uniform up to HUE_LIMIT of a turn to either side, 0."""
    angle = 2 * np.pi * generator.uniform(-HUE_LIMIT, HUE_LIMIT, size=count)
    return np.stack([np.cos(angle), np.sin(angle), np.zeros(count)], axis=1).astype(np.float32)


def turns() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns three matrices (3, 3): the first plus cosine times the second plus sine times the third turns R, G and
    B about the gray axis."""
    parts = np.diag([1, 0, 0]), np.diag([0, 1, 1]), np.array([[0, 0, 0], [0, 0, -1], [0, 1, 0]])
    whole, cosine, sine = (FROM_YIQ @ part @ TO_YIQ for part in parts)
    return whole, cosine, sine


def brightness(image: DataNode, parameters: DataNode) -> DataNode:
    """f v with a random factor f of 0.5 to 1.5, saturated at 255."""
    return fn.brightness_contrast(image, brightness=parameters[0])


def contrast(image: DataNode, parameters: DataNode) -> DataNode:
    """128 + f (v - 128) with a random f of 0.5 to 1.5, saturated at 0 and 255."""
    return fn.brightness_contrast(image, contrast=parameters[0], contrast_center=MIDDLE)


def saturation(image: DataNode, parameters: DataNode) -> DataNode:
    """y + f (v - y) with a random f of 0.5 to 1.5, where y is the pixel's gray level."""
    gray = np.tile(LUMINANCE, (3, 1))
    return mix(image, constant(gray) + constant(np.eye(3) - gray) * parameters[0])


def hue(image: DataNode, parameters: DataNode) -> DataNode:
    """Colors turned about the gray axis (in YIQ) by a random angle of up to 36 degrees to either side."""
    whole, cosine, sine = map(constant, turns())
    return mix(image, whole + cosine * parameters[0] + sine * parameters[1])


def constant(matrix: np.ndarray) -> DataNode:
    return types.Constant(matrix.astype(np.float32))


def mix(image: DataNode, matrix: DataNode) -> DataNode:
    return fn.coord_transform(image, M=matrix, dtype=DALIDataType.UINT8)
