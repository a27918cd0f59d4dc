"""Float32 as such: features, distances and their gradients on a GPU are then those of a CPU but for rounding."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

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


def wide(values: torch.Tensor) -> torch.Tensor:
    """Returns values in float32, or wider where they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def multiply(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Returns the product of (N, D) and (D, M) in their own type, whatever autocast and TF32 are set to; so is its
    gradient."""
    return _Product.apply(a, b)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        context.save_for_backward(a, b)
        # autocast would multiply in half precision, in which near distances become equal
        with full_float32(), torch.autocast(a.device.type, enabled=False):
            return a @ b

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        a, b = context.saved_tensors
        for_a, for_b = context.needs_input_grad
        return multiply(gradient, b.T) if for_a else None, multiply(a.T, gradient) if for_b else None
