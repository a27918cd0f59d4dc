"""Float32 as such, for what is tested: features and distances of a GPU are then those of a CPU but for rounding."""

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
