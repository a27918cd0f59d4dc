"""Networks of gray images: one channel instead of three."""

from __future__ import annotations

import torch
from torch import nn

from pipeline.models.input_channels import take_channels

WEIGHTS = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601
FOUR_DIGITS = (0.2989, 0.5870, 0.1140)  # the same standard's, as MATLAB rounds them


def to_gray(images: torch.Tensor, weights: tuple[float, float, float] = WEIGHTS) -> torch.Tensor:
    """Returns (B, 1, H, W) of images (B, 3, H, W), normalized: the weighted sum of their channels.

    It is the gray image where all channels are normalized alike, and an infrared image, whose channels are equal then,
    stays what it is.
    """
    red, green, blue = (weight * channel for weight, channel in zip(weights, images.split(1, dim=1), strict=True))
    return red + green + blue


def take_one_channel(backbone: nn.Module) -> None:
    """Makes a backbone's first convolution one of gray images, in place: its kernel is the sum over the channels.

    For a gray image it computes what the three channels, each holding that image, gave before. Raises ValueError for a
    family whose first convolution isn't known.
    """
    take_channels(backbone, 1)
