"""JSIA's networks: one for identities that is cut in two behind its content, and one that generates content in a style.

Wang et al., "Cross-Modality Paired-Images Generation for RGB-Infrared Person Re-Identification", AAAI 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from timm.models.resnet import ResNet
from torch import nn
from torch.nn import functional

from pipeline.models.heads import Feature, Neck
from pipeline.models.image.pixel_range import gray
from pipeline.models.image.style import StyleDecoder, StyleEncoder, StyleParameters
from pipeline.models.pooling import Pooling
from pipeline.models.reid import ReIDOutput
from pipeline.models.stems import SHARED
from pipeline.models.timm_model import Backbone
from pipeline.settings_key import key

CONTENT, INSTANCE = ("conv1", "bn1", "maxpool", "layer1"), ("layer2", "layer3", "layer4")  # stages of a ResNet


class GrayNetwork(nn.Module):
    """The tested network: a ResNet of gray images, without the ReLU in front of its first pooling, and a BN neck.

    backbone    a ResNet of timm, from `create_backbone`; it is owned by this network
    pooling     of its map
    identities  C, number of training identities
    height, width  in pixels, which images of any other size are brought to
    """

    def __init__(self, backbone: Backbone, pooling: Pooling, identities: int, height: int, width: int) -> None:
        super().__init__()
        if not isinstance(backbone, ResNet):
            raise ValueError(f"backbone: expected a ResNet, which JSIA cuts in two; found {type(backbone).__name__}")
        self.backbone: Backbone = backbone
        self.pooling = pooling
        self.head = Neck(backbone.num_features, identities, SHARED, ())
        self.size = (height, width)
        content: dict[str, Any] = next(one for one in backbone.feature_info if one["module"] == CONTENT[-1])
        self.channels, self.reduction = content["num_chs"], content["reduction"]

    @property
    def origin(self) -> str:
        """The pre-trained weights it started from (`weights_origin`)."""
        return self.backbone.origin

    def parameters_of(self, stages: Sequence[str]) -> list[nn.Parameter]:
        """Returns the trained parameters of CONTENT or INSTANCE."""
        found = [one for name in stages for one in self.backbone.get_submodule(name).parameters()]
        return [parameter for parameter in found if parameter.requires_grad]

    def head_parameters(self) -> list[nn.Parameter]:
        """Returns the trained parameters of the head."""
        return [parameter for parameter in self.head.parameters() if parameter.requires_grad]

    def content(self, images: torch.Tensor) -> torch.Tensor:
        """Returns (B, C, H / 4, W / 4), H x W this network's size, of images (B, 3, any height, any width), normalized.

        Both modalities are seen in gray, so that content can't tell them apart by color.
        """
        features = images.to(next(self.head.parameters()).dtype)
        if features.shape[2:] != self.size:
            features = functional.interpolate(features, self.size, mode="bilinear")
        return self.through(CONTENT, gray(features))

    def feature(self, images: torch.Tensor) -> Feature:
        """Returns that of images (B, 3, any height, any width), normalized."""
        return self.head.after_pooling(self.pooling(self.through(INSTANCE, self.content(images))), ())

    def through(self, stages: Sequence[str], features: torch.Tensor) -> torch.Tensor:
        for name in stages:
            features = self.backbone.get_submodule(name)(features)
        return features

    def learned(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the pooled feature (B, D) and the logits (B, C) of such images, in training mode."""
        feature = self.feature(images)
        assert feature.logits is not None, "the classifier is for training"
        return feature.pooled, feature.logits

    def forward(self, images: torch.Tensor, modality: Sequence[int] | torch.Tensor) -> ReIDOutput:
        """Returns the feature of such images; modality: of each row, a value of `Modality`; all are seen alike."""
        return ReIDOutput({"global": self.feature(images)})


@dataclass(frozen=True)
class GeneratorSizes:
    """Sizes of style encoder, decoder and what stands between them; as in the code where it differs from the paper."""

    width: int = key(32, "channels of the style encoder's first layer", min=1)
    depth: int = key(4, "its layers of stride 2; 2 in the paper", min=1)
    style: int = key(128, "length of its codes", min=1)
    hidden: int = key(256, "width of the layers between code and norms", min=1)
    blocks: int = key(2, "residual blocks of the decoder; 4 in the paper", min=1)
    ups: int = key(1, "its up blocks, each to twice the size: 1 gives half the network's height; 2 in the paper", min=0)


class Generator(nn.Module):
    """What makes the images of one modality: the style of its images, and content generated in a style.

    channels: of the content.
    """

    def __init__(self, channels: int, sizes: GeneratorSizes) -> None:
        super().__init__()
        self.style = StyleEncoder(sizes.width, sizes.depth, sizes.style)
        self.decoder = StyleDecoder(channels, sizes.blocks, sizes.ups)
        self.norms = StyleParameters(self.decoder.layers, channels, sizes.style, sizes.hidden)

    def forward(self, content: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """Returns images (B, 3, 2^ups h, 2^ups w) in -1 .. 1 of content (B, channels, h, w) and codes (B, style)."""
        return self.decoder(content, self.norms(style))
