"""UNIT's encoder and decoder, which D2RL builds on: a variational autoencoder with codes of variance 1.

Liu et al., "Unsupervised Image-to-Image Translation Networks", NeurIPS 2017, in the sizes of its later public code.
"""

from __future__ import annotations

import torch
from torch import nn

from pipeline.models.image.blocks import ResidualBlock, conv, to_image, up_blocks
from pipeline.models.image.initial import start_kaiming
from pipeline.models.image.sizes import check_multiple


class Encoder(nn.Sequential):
    """From an image to the mean of its code (5.39 million parameters).

    width   channels of the first layer, doubled by each of stride 2
    depth   number of layers of stride 2
    blocks  number of residual blocks
    """

    def __init__(self, width: int = 64, depth: int = 2, blocks: int = 4) -> None:
        strided = (conv(width << i, width << i + 1, 4, 2, norm="instance", slope=0.0) for i in range(depth))
        residual = (ResidualBlock(width << depth) for _ in range(blocks))
        super().__init__(conv(3, width, 7, norm="instance", slope=0.0), *strided, *residual)
        self.depth = depth
        start_kaiming(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns (B, 2^depth width, H / 2^depth, W / 2^depth) of images (B, 3, H, W) in -1 .. 1.

        Raises ValueError for H or W that isn't a multiple of 2^depth.
        """
        check_multiple(images, 2**self.depth)
        return super().forward(images)


def sampled(means: torch.Tensor, deviation: float = 1.0) -> torch.Tensor:
    """Returns codes drawn around their means: normal noise of that deviation added. Evaluation takes the means."""
    return means + deviation * torch.randn_like(means)


class Decoder(nn.Sequential):
    """From a code to an image (5.75 million parameters); the arguments are those of its `Encoder`."""

    def __init__(self, width: int = 64, depth: int = 2, blocks: int = 4) -> None:
        residual = (ResidualBlock(width << depth) for _ in range(blocks))
        super().__init__(*residual, up_blocks(width << depth, depth), to_image(width))
        start_kaiming(self)
