"""Blocks of networks that make images: those of CycleGAN, and those that JSIA, Hi-CMD and UNIT share with MUNIT.

Arguments that have one meaning everywhere:

    padding  "zeros" or "reflect": what a convolution sees beyond the edge
    norm     "none"; "instance": each channel of each sample by its own places, without parameters; "tracked": that with
             a learned scale and shift, and in evaluation by the running statistics instead
    slope    of the activation below 0: 0 is ReLU, more a leaky ReLU, None no activation
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import nn
from torch.nn import functional

from pipeline.models.instance_norm import InstanceNorm, with_right_gradient
from pipeline.precision import wide

Padding = Literal["zeros", "reflect"]
Norm = Literal["none", "instance", "tracked"]
EPSILON = 1e-5


def conv(
    channels: int,
    to: int,
    kernel: int,
    stride: int = 1,
    *,
    dilation: int = 1,
    padding: Padding = "reflect",
    norm: Norm = "none",
    slope: float | None = None,
    bias: bool = True,
) -> nn.Sequential:
    """Returns a convolution, its norm and its activation: (B, channels, H, W) -> (B, to, H / stride, W / stride).

    H and W are multiples of the stride, 1 or 2; a kernel of even size has stride 2. dilation: the distance of the
    places that a kernel of odd size sees.
    """
    edge = dilation * ((kernel - 1) // 2)
    mode = padding if edge else "zeros"  # nothing to pad: no copy of the features for it
    convolution = nn.Conv2d(channels, to, kernel, stride, edge, dilation, bias=bias, padding_mode=mode)
    return nn.Sequential(convolution, *new_norm(norm, to), *new_activation(slope))


def new_norm(norm: Norm, channels: int) -> list[nn.Module]:
    """Returns the layers of a norm, none or one. Raises ValueError for an unknown one."""
    if norm not in get_args(Norm):
        raise ValueError(f"norm: expected one of {', '.join(get_args(Norm))}; found {norm!r}")
    if norm == "none":
        return []
    tracked = norm == "tracked"
    return [InstanceNorm(channels, EPSILON, affine=tracked, track_running_stats=tracked)]


def new_activation(slope: float | None) -> list[nn.Module]:
    """Returns the layers of an activation, none or one."""
    if slope is None:
        return []
    return [nn.LeakyReLU(slope) if slope else nn.ReLU()]


class ResidualBlock(nn.Module):
    """x + [conv3, norm, activation, conv3, norm](x) of (B, channels, H, W), nothing behind the sum."""

    def __init__(
        self,
        channels: int,
        *,
        norm: Norm = "instance",
        slope: float = 0.0,
        padding: Padding = "reflect",
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            conv(channels, channels, 3, padding=padding, norm=norm, slope=slope, bias=bias),
            conv(channels, channels, 3, padding=padding, norm=norm, bias=bias),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features + self.layers(features)


def adaptive_instance_norm(features: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Returns scale (x - mean) / sqrt(variance + 1e-5) + shift: features (B, C, H, W), shift and scale (B, C).

    Mean and biased variance are those of each sample and channel, over more than one place (Huang and Belongie,
    "Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization", ICCV 2017, eq. 8).
    """
    normalized = with_right_gradient(functional.instance_norm(features, eps=EPSILON))
    return normalized * scale[:, :, None, None] + shift[:, :, None, None]


class AdaptiveResidualBlock(nn.Module):
    """A `ResidualBlock` whose two norms get their shifts and scales from a style."""

    LAYERS = 2  # norms

    def __init__(self, channels: int, *, slope: float = 0.0, padding: Padding = "reflect") -> None:
        super().__init__()
        self.first = conv(channels, channels, 3, padding=padding)
        self.second = conv(channels, channels, 3, padding=padding)
        self.activation = nn.Sequential(*new_activation(slope))

    def forward(self, features: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """Returns (B, C, H, W) like the features. style: (B, 2, 2, C), by layer its shifts, then its scales."""
        (first_shift, first_scale), (second_shift, second_scale) = (layer.unbind(1) for layer in style.unbind(1))
        hidden = self.activation(adaptive_instance_norm(self.first(features), first_shift, first_scale))
        return features + adaptive_instance_norm(self.second(hidden), second_shift, second_scale)


class SampleLayerNorm(nn.Module):
    """g_c (x - mean) / (deviation + 1e-5) + b_c with the mean and the unbiased deviation of all of a sample.

    It is MUNIT's layer norm (Huang et al., "Multimodal Unsupervised Image-to-Image Translation", ECCV 2018), not
    `GroupNorm(1)`, whose variance is biased and has the 1e-5 below the root. g starts uniform in 0 .. 1, b at 0.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Returns (B, C, H, W) of the features' type; computed in float32 or wider."""
        values = wide(features)
        deviation, mean = torch.std_mean(values, dim=(1, 2, 3), keepdim=True)
        normalized = (values - mean) / (deviation + EPSILON)
        return (normalized * self.weight[:, None, None] + self.bias[:, None, None]).to(features.dtype)


class UpBlock(nn.Sequential):
    """Twice the size by repeating pixels, conv5, `SampleLayerNorm`, activation: (B, C, H, W) -> (B, to, 2H, 2W)."""

    def __init__(self, channels: int, to: int, *, slope: float = 0.0, padding: Padding = "reflect") -> None:
        super().__init__(
            nn.Upsample(scale_factor=2, mode="nearest"),
            conv(channels, to, 5, padding=padding),
            SampleLayerNorm(to),
            *new_activation(slope),
        )


def up_blocks(channels: int, count: int, slope: float = 0.0) -> nn.Sequential:
    """Returns up blocks that double the size `count` times and halve the channels as often."""
    return nn.Sequential(*(UpBlock(channels >> i, channels >> i + 1, slope=slope) for i in range(count)))


def to_image(channels: int, padding: Padding = "reflect", bias: bool = True) -> nn.Sequential:
    """Returns the last layers of a network whose images are in -1 .. 1: conv7 to 3 channels, tanh."""
    return nn.Sequential(conv(channels, 3, 7, padding=padding, bias=bias), nn.Tanh())
