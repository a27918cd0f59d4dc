"""Sampling of the parameters of derivations: (generator, n) -> (n, PARAMETERS) float32."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

PARAMETERS = 3  # numbers that a derivation may use; unused ones are 0

Sample = Callable[[np.random.Generator, int], np.ndarray]


def sample_nothing(generator: np.random.Generator, count: int) -> np.ndarray:
    """Returns (count, PARAMETERS) zeros: for derivations without chance."""
    return np.zeros((count, PARAMETERS), np.float32)


def first_parameter(values: np.ndarray) -> np.ndarray:
    """Returns (n,) values as the first of (n, PARAMETERS) parameters; the others are 0."""
    parameters = np.zeros((len(values), PARAMETERS), np.float32)
    parameters[:, 0] = values
    return parameters
