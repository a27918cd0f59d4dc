"""Hi-CMD's attributes of an image, its style, pose and illumination, and images of a prototype with given attributes.

Choi et al., "Hi-CMD: Hierarchical Cross-Modality Disentanglement for Visible-Infrared Person Re-Identification", CVPR
2020, in the sizes of its code.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from pipeline.models.image.blocks import AdaptiveResidualBlock, conv
from pipeline.models.image.initial import start_kaiming
from pipeline.models.image.prototype import SLOPE
from pipeline.models.image.style import StyleDecoder
from pipeline.models.timm_model import Backbone

UPS = 2  # a decoder doubles the prototype's sides twice
LEAST = 4  # values of a code that a block gets: half style, a quarter each of pose and illumination


class Attributes(NamedTuple):
    """The parts of the codes of B images, for each of the decoder's blocks: (B, blocks, n).

    style         what tells people apart, such as their clothes: half of the code
    pose          a quarter
    illumination  a quarter; it holds the modality
    """

    style: torch.Tensor
    pose: torch.Tensor
    illumination: torch.Tensor

    @classmethod
    def of(cls, codes: torch.Tensor) -> Attributes:
        """Returns the parts of codes (B, blocks, n), n a multiple of 4."""
        quarter = codes.shape[2] // LEAST
        return cls(*codes.split([2 * quarter, quarter, quarter], dim=2))

    @property
    def excluded(self) -> torch.Tensor:
        """(B, blocks, n): what doesn't tell people apart."""
        return torch.cat([self.pose, self.illumination], dim=2)

    @property
    def codes(self) -> torch.Tensor:
        """(B, blocks, n): all parts side by side, as `of` takes them."""
        return torch.cat(self, dim=2)


class AttributeEncoder(nn.Module):
    """From an image to its code: a backbone whose map is averaged and cut into as many parts as there are blocks.

    Raises ValueError for a width that can't be cut so.
    """

    def __init__(self, backbone: Backbone, blocks: int) -> None:
        super().__init__()
        if backbone.num_features % (LEAST * blocks):
            raise ValueError(
                f"backbone: expected a width that is a multiple of {LEAST * blocks}, for {blocks} blocks; "
                f"found {backbone.num_features}"
            )
        self.backbone = backbone
        self.blocks = blocks

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns codes (B, blocks, C / blocks) of images (B, 3, H, W), normalized; C: the backbone's width."""
        return self.backbone.forward_features(images).mean(dim=(2, 3)).unflatten(1, (self.blocks, -1))


class AttributeParameters(nn.Module):
    """From codes to shift and scale of each channel of a decoder's norms: for each block a network for the shifts and
    one for the scales, of three linear layers (6,303,744 parameters).

    blocks, channels: of the decoder; width: of the code of one block, and of the hidden layers.
    """

    def __init__(self, blocks: int = 4, channels: int = 256, width: int = 512) -> None:
        super().__init__()
        self.shape = (AdaptiveResidualBlock.LAYERS, channels)
        self.shifts, self.scales = (
            nn.ModuleList(perceptron(width, AdaptiveResidualBlock.LAYERS * channels) for _ in range(blocks))
            for _ in range(2)
        )

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Returns (B, 2 blocks, 2, channels), by layer its shifts, then its scales, of codes (B, blocks, width)."""
        return torch.stack([self.values(self.shifts, codes), self.values(self.scales, codes)], dim=2)

    def values(self, networks: nn.ModuleList, codes: torch.Tensor) -> torch.Tensor:
        """Returns (B, 2 blocks, channels), those of the first layer of a block before those of its second."""
        pairs = zip(networks, codes.unbind(1), strict=True)
        return torch.cat([network(code).unflatten(1, self.shape) for network, code in pairs], dim=1)


def perceptron(width: int, to: int) -> nn.Sequential:
    """Returns three linear layers of codes (B, width)."""
    hidden = (layer for _ in range(2) for layer in (nn.Linear(width, width), nn.LeakyReLU(SLOPE)))
    return nn.Sequential(*hidden, nn.Linear(width, to))


class AttributeDecoder(nn.Module):
    """From prototypes and attributes to images, one for all modalities (12,123,011 parameters).

    channels: of the prototype; blocks, width: number and width of the codes of an image.
    """

    def __init__(self, channels: int = 256, blocks: int = 4, width: int = 512) -> None:
        super().__init__()
        last = channels >> UPS
        to_image = nn.Sequential(conv(last, last, 3, slope=SLOPE), conv(last, last, 3, slope=SLOPE), conv(last, 3, 1))
        self.parameters_of = AttributeParameters(blocks, channels, width)
        self.decoder = StyleDecoder(channels, blocks, UPS, SLOPE, to_image)
        start_kaiming(self)

    def forward(self, prototypes: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Returns images (B, 3, 4 h, 4 w), normalized and without bounds, of prototypes (B, channels, h, w) and codes
        (B, blocks, width). All norms are those of each image, so B is as good as several calls."""
        return self.decoder(prototypes, self.parameters_of(codes))
