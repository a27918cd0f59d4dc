"""The diverse embedding expansion of DEEN (Zhang, Wang, CVPR 2023): further versions of each row of a map."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from pipeline.models.inserts import InsertOptions
from pipeline.settings_key import key

DILATIONS = (1, 2, 3)
SHRINK = 4


class Branch(nn.Module):
    """W relu(mean over r of D_r x): D_r are 3 x 3 convolutions of dilation r from C channels to C / 4, without bias, W
    a 1 x 1 convolution back to C, with bias (ZYK100/LLCM 886e27c)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(channels // SHRINK, 1)
        dilated = (nn.Conv2d(channels, inner, 3, padding=r, dilation=r, bias=False) for r in DILATIONS)
        self.dilated, self.expand = nn.ModuleList(dilated), nn.Conv2d(inner, channels, kernel_size=1)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.kaiming_normal_(parameter, mode="fan_in")

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Maps (B, C, h, w) to (B, C, h, w)."""
        mean = torch.stack([layer(features) for layer in self.dilated]).mean(dim=0)
        return self.expand(torch.relu(mean))


class DEE(nn.Module):
    """Returns each row and, below all of them, `branches` further versions of it; then dropout.

    `copies`: rows out for each row in.
    """

    @dataclass(frozen=True)
    class Options(InsertOptions):
        branches: int = key(2, "versions made of each map beside itself", min=1)
        dropout: float = key(0.01, "probability of a value to be dropped, in all versions", min=0, max=0.99)

    def __init__(self, settings: Options, channels: int) -> None:
        super().__init__()
        self.copies = 1 + settings.branches
        self.branches = nn.ModuleList(Branch(channels) for _ in range(settings.branches))
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Maps (B, C, h, w) to (copies B, C, h, w): the B rows, then B of the first branch, and so on."""
        return self.dropout(torch.cat([features, *(branch(features) for branch in self.branches)]))
