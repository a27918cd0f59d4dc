"""torch's instance norm, with the right gradient for a single image."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class _ContiguousGradient(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, features: torch.Tensor) -> torch.Tensor:
        return features.view_as(features)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient.contiguous()


def with_right_gradient(normalized: torch.Tensor) -> torch.Tensor:
    """Returns the output of torch's instance norm, whose gradient for a single image would else be wrong on CPUs.

    The output is contiguous; torch 2.14 reads a gradient in channels-last order as if it were, too.
    """
    return _ContiguousGradient.apply(normalized)


class InstanceNorm(nn.InstanceNorm2d):
    """torch's, with the right gradient for a single image (`with_right_gradient`)."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return with_right_gradient(super().forward(features))
