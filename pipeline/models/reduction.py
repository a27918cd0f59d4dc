"""From pooled features to shorter ones."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

import torch
from torch import nn

Activation = Literal["none", "relu"]


class Reduction(nn.Sequential):
    """Linear -> batch norm, if asked for -> ReLU, if asked for: (B, D) -> (B, reduced), in float32 also under autocast,
    since it is compared.

    The layer in front of a norm starts as He et al., 2015 (fan in), and has no bias, which the norm would take away.
    """

    def __init__(self, width: int, reduced: int, norm: bool, activation: Activation) -> None:
        linear = nn.Linear(width, reduced, bias=not norm)
        if norm:
            nn.init.kaiming_normal_(linear.weight)
        layers = {
            "linear": linear,
            "norm": nn.BatchNorm1d(reduced) if norm else nn.Identity(),
            "activation": nn.ReLU() if activation == "relu" else nn.Identity(),
        }
        super().__init__(OrderedDict(layers))

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        with torch.autocast(pooled.device.type, enabled=False):
            return super().forward(pooled)


def new_reduction(width: int, reduced: int, norm: bool, activation: Activation) -> nn.Module:
    """Returns the layers from (B, width) to (B, reduced): one alone, which starts as torch's, or a `Reduction`."""
    if norm or activation != "none":
        return Reduction(width, reduced, norm, activation)
    return nn.Linear(width, reduced)
