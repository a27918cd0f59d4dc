"""MPANet's modality alleviation module (Wu et al., CVPR 2021): takes the style of a modality out of some channels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from pipeline.models.inserts import InsertOptions
from pipeline.models.instance_norm import InstanceNorm
from pipeline.settings_key import key


class MAM(nn.Module):
    """m x + (1 - m) IN(x), with m = sigmoid(W_2 relu(W_1 mean(x))) of each channel of each image.

    IN normalizes each channel over the places of its image and has no parameters, so a map needs two places or more.
    W_1 and W_2 have no bias and start as He et al., 2015 (fan out). It doesn't begin as the identity: m is about 1/2.
    Equal to DoubtedSteam/MPANet f57fd5c.
    """

    @dataclass(frozen=True)
    class Options(InsertOptions):
        reduction: int = key(16, "channels of the map over those between W_1 and W_2", min=1)

    def __init__(self, settings: Options, channels: int) -> None:
        super().__init__()
        inner = max(channels // settings.reduction, 1)
        self.reduce, self.expand = (
            nn.Conv2d(*widths, kernel_size=1, bias=False) for widths in ((channels, inner), (inner, channels))
        )
        self.norm = InstanceNorm(channels)
        for layer in (self.reduce, self.expand):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Maps (B, C, h, w) to (B, C, h, w)."""
        mean = features.mean(dim=(2, 3), keepdim=True)
        kept = torch.sigmoid(self.expand(torch.relu(self.reduce(mean))))
        return kept * features + (1 - kept) * self.norm(features)
