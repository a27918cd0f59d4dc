"""AlignGAN's generator, which translates images of one modality into the other."""

from __future__ import annotations

import torch
from torch import nn

from pipeline.models.image.blocks import ResidualBlock, conv, new_activation, new_norm, to_image
from pipeline.models.image.initial import start_gaussian_weights
from pipeline.models.image.sizes import check_multiple


class Translator(nn.Sequential):
    """CycleGAN's generator as AlignGAN's code has it (Wang et al., ICCV 2019; 6.05 million parameters).

    Two layers of stride 2, residual blocks, two transposed convolutions; instance norms with parameters and running
    statistics, by which images are made in evaluation; zero padding, no biases.

    width   channels of the first layer; four times as many in the residual blocks
    blocks  number of residual blocks
    """

    def __init__(self, width: int = 64, blocks: int = 4) -> None:
        residual = (ResidualBlock(4 * width, norm="tracked", padding="zeros", bias=False) for _ in range(blocks))
        super().__init__(
            conv(3, width, 7, padding="zeros", norm="tracked", slope=0.0, bias=False),
            conv(width, 2 * width, 4, 2, padding="zeros", norm="tracked", slope=0.0, bias=False),
            conv(2 * width, 4 * width, 4, 2, padding="zeros", norm="tracked", slope=0.0, bias=False),
            *residual,
            transposed(4 * width, 2 * width),
            transposed(2 * width, width),
            to_image(width, padding="zeros", bias=False),
        )
        start_gaussian_weights(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns images (B, 3, H, W) in -1 .. 1 of others; H and W multiples of 4, else ValueError."""
        check_multiple(images, 4)
        return super().forward(images)


def transposed(channels: int, to: int) -> nn.Sequential:
    """Returns a transposed convolution to twice the size, its norm and ReLU."""
    convolution = nn.ConvTranspose2d(channels, to, 4, 2, 1, bias=False)
    return nn.Sequential(convolution, *new_norm("tracked", to), *new_activation(0.0))
