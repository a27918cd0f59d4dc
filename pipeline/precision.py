"""Float32 as such: features, distances and their gradients on a GPU are then those of a CPU but for rounding."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """Keeps products and convolutions of float32 from rounding to TF32's ten bits, in which near distances are equal.

    `cudnn.flags` sets all of cuDNN's flags; without its benchmark, as the last batch of a test has a size of its own.
    """
    products = torch.backends.cuda.matmul
    before = products.allow_tf32
    products.allow_tf32 = False
    try:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    finally:
        products.allow_tf32 = before


def multiply(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Returns the product of (N, D) and (D, M) in their own type, whatever autocast and TF32 are set to."""
    with full_float32(), torch.autocast(a.device.type, enabled=False):
        return a @ b
