"""What derivations do to the channels of normalized images: parameters (n, 3) -> matrices (n, 3, 3), rows of R, G and B
made of those that were."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Matrices = Callable[[np.ndarray], np.ndarray]

GRAY = (0.2989, 0.5870, 0.1140)  # torchvision's, to the four digits that methods were published with


def identity(parameters: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.eye(3), (len(parameters), 3, 3))


def weighted(parameters: np.ndarray) -> np.ndarray:
    """Returns matrices that weigh R, G and B alike for all three."""
    return np.repeat(parameters[:, None], 3, axis=1)


def gray(parameters: np.ndarray) -> np.ndarray:
    return weighted(np.broadcast_to(GRAY, parameters.shape))


def chosen(parameters: np.ndarray) -> np.ndarray:
    """Returns matrices that copy a channel, parameters[0], to all three."""
    return weighted(np.eye(3)[parameters[:, 0].astype(int)])


def green(parameters: np.ndarray) -> np.ndarray:
    return chosen(np.ones_like(parameters))


def ordered(parameters: np.ndarray) -> np.ndarray:
    """Returns matrices whose R, G and B are the channels that parameters name."""
    return np.eye(3)[parameters.astype(int)]


def gains(parameters: np.ndarray) -> np.ndarray:
    return parameters[:, :, None] * np.eye(3)
