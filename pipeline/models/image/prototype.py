"""Hi-CMD's prototype encoder: what the body in an image looks like, as a map (Choi et al., CVPR 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from pipeline.models.image.blocks import ResidualBlock, conv
from pipeline.models.image.initial import start_kaiming
from pipeline.models.image.sizes import check_multiple

SLOPE = 0.3
SHRINKING = 4  # sides of an image and of its prototype
DILATIONS = (3, 6, 9)


class PrototypeEncoder(nn.Sequential):
    """From an image to its prototype (1,520,448 parameters).

    width      channels of the first layer; four times as many in the residual blocks
    channels   of the prototype
    blocks     number of residual blocks
    dilations  of the branches behind them, each smaller than the sides of the prototype
    """

    def __init__(
        self, width: int = 32, channels: int = 256, blocks: int = 4, dilations: Sequence[int] = DILATIONS
    ) -> None:
        super().__init__(
            conv(3, width, 3, 2, norm="instance", slope=SLOPE),
            conv(width, 2 * width, 3, norm="instance", slope=SLOPE),
            conv(2 * width, 2 * width, 3, norm="instance", slope=SLOPE),
            conv(2 * width, 4 * width, 3, 2, norm="instance", slope=SLOPE),
            *(ResidualBlock(4 * width, slope=SLOPE) for _ in range(blocks)),
            Pyramid(4 * width, channels, dilations),
        )
        start_kaiming(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns (B, channels, H / 4, W / 4) of images (B, 3, H, W), normalized.

        Raises ValueError for H or W that isn't a multiple of 4.
        """
        check_multiple(images, SHRINKING)
        return super().forward(images)


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: branches that see places at several distances, side by side, and conv1.

    Chen et al., "DeepLab", TPAMI 2018, with instance norms: a branch of conv1 alone, and one of conv1 and a dilated
    conv3 for each of `dilations`; each has as many channels as the others, and no activation behind its last norm.
    """

    def __init__(self, channels: int, to: int, dilations: Sequence[int]) -> None:
        super().__init__()
        width = to // (1 + len(dilations))
        self.branches = nn.ModuleList([conv(channels, width, 1, norm="instance")])
        for dilation in dilations:
            narrowed = conv(channels, width, 1, norm="instance", slope=SLOPE)
            self.branches.append(nn.Sequential(narrowed, conv(width, width, 3, dilation=dilation, norm="instance")))
        self.joined = conv(width * len(self.branches), to, 1, norm="instance")

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Returns (B, to, h, w) of (B, channels, h, w)."""
        return self.joined(torch.cat([branch(features) for branch in self.branches], dim=1))
