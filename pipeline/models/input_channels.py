"""Backbones of images that don't have three channels."""

from __future__ import annotations

import timm.models
from torch import nn

from pipeline.models.stems import first_convolution


def take_channels(backbone: nn.Module, count: int) -> None:
    """Makes a backbone's first convolution one of images with `count` channels, in place, and keeps what it learned.

    As timm's `in_chans`: of one channel, its kernel is the sum over the three; of more, the three are repeated and
    scaled by 3 / count. Raises ValueError for a family whose first convolution isn't known.
    """
    convolution = backbone.get_submodule(first_convolution(backbone))
    assert isinstance(convolution, nn.Conv2d)
    convolution.weight = nn.Parameter(timm.models.adapt_input_conv(count, convolution.weight.detach()))
    convolution.in_channels = count
