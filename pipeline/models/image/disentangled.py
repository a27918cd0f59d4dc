"""Hi-CMD's tested network: a feature of the prototype and of the style of an image (Choi et al., CVPR 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, cast

import torch
from timm.models.resnet import ResNet
from torch import nn
from torch.nn import functional

from pipeline.batch import Modality
from pipeline.models.heads import Feature
from pipeline.models.image.attributes import AttributeEncoder, Attributes
from pipeline.models.image.exchange import Code
from pipeline.models.image.prototype import DILATIONS, PrototypeEncoder
from pipeline.models.norm import norm_layers
from pipeline.models.reid import ReIDOutput
from pipeline.models.timm_model import Backbone
from pipeline.precision import wide
from pipeline.routing import apply_by_key, runs_of

FEATURE = "global"


class DisentangledNetwork(nn.Module):
    """Encoders of each modality, which start equal; layers behind the prototype; the shares of both; the embedding.

    backbone   a ResNet; whole it encodes attributes, and copies of its layer2 and layer3 follow the prototype, which
               has as many channels as its layer1 gives (256 for a ResNet-50)
    width      of the prototype encoders, dilations theirs
    blocks     residual blocks of encoders and decoder, and parts of the attributes
    embedding  values of the embedding
    dropout    of the embedding, in training

    `channels` are those of a prototype, `code_width` the values of a code for each block.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        width: int = 32,
        blocks: int = 4,
        dilations: Sequence[int] = DILATIONS,
        embedding: int = 2048,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        channels = channels_of(backbone)
        self.channels, self.code_width, self.origin = (
            channels["layer1"],
            backbone.num_features // blocks,
            backbone.origin,
        )
        self.body = nn.Sequential(*(deepcopy(backbone.get_submodule(name)) for name in ("layer2", "layer3")))
        self.prototypes = of_each(PrototypeEncoder(width, self.channels, blocks, dilations))
        self.attributes = of_each(AttributeEncoder(backbone, blocks))
        self.alpha = nn.Parameter(torch.tensor(0.5))
        self.embedding = embedding_layers(channels["layer3"] + backbone.num_features // 2, embedding)
        self.dropout = nn.Dropout(dropout)

    def forward(self, images: torch.Tensor, modality: torch.Tensor | Sequence[int]) -> ReIDOutput:
        """Returns the feature of images (B, 3, H, W), normalized; modality: of each, on the host.

        Rows of a modality go through its encoders. Its logits are None: the classifier belongs to the training.
        """
        images, runs = wide(images), runs_of([Modality(int(value)).key for value in modality])
        prototypes = apply_by_key(images, runs, self.prototypes)
        attributes = Attributes.of(apply_by_key(images, runs, self.attributes))
        pooled = self.pooled(self.shapes(prototypes), attributes.style)
        return ReIDOutput({FEATURE: Feature(pooled, self.embedded(pooled), None)})

    def encode(self, images: torch.Tensor, modality: Modality) -> Code:
        """Returns the code of images (B, 3, H, W) of one modality, normalized."""
        prototypes, codes = self.prototypes[modality.key](images), self.attributes[modality.key](images)
        return Code(prototypes, Attributes.of(codes))

    def shapes(self, prototypes: torch.Tensor) -> torch.Tensor:
        """Returns (B, D) of prototypes."""
        return self.body(prototypes).mean(dim=(2, 3))

    def pooled(self, shapes: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """Returns shapes (B, D) and style (B, blocks, n) side by side, (B, D + blocks n), in float32 or wider: each of
        unit length times its share, the learned one and what it leaves of 1, neither below 0."""
        of_shape, of_style = (functional.normalize(wide(part.flatten(1))) for part in (shapes, style))
        return torch.cat([self.alpha.clamp(max=1) * of_shape, (1 - self.alpha).clamp(min=0) * of_style], dim=1)

    def embedded(self, pooled: torch.Tensor) -> torch.Tensor:
        """Returns the embedding (B, embedding) of pooled rows, in their type: it is compared."""
        with torch.autocast(pooled.device.type, enabled=False):
            return self.dropout(self.embedding(pooled))

    def pretrained_norms(self) -> list[nn.Module]:
        """Returns the batch-norm layers that come from the backbone."""
        return [*norm_layers(self.body), *norm_layers(self.attributes)]


def channels_of(backbone: Backbone) -> dict[str, int]:
    """Returns the channels behind each stage of a ResNet, by its name. Raises ValueError for another backbone."""
    if not isinstance(backbone, ResNet):
        raise ValueError(
            "backbone: expected a ResNet, of whose layers prototypes and attributes are made; "
            f"found {type(backbone).__name__}"
        )
    stages = cast("list[dict[str, Any]]", backbone.feature_info)
    return {stage["module"]: stage["num_chs"] for stage in stages}


def of_each(network: nn.Module) -> nn.ModuleDict:
    """Returns the network for visible images, and a copy of it for infrared ones."""
    return nn.ModuleDict({Modality.VISIBLE.key: network, Modality.INFRARED.key: deepcopy(network)})


def embedding_layers(width: int, to: int) -> nn.Sequential:
    """Returns the layers of the embedding: linear, batch norm."""
    norm = nn.BatchNorm1d(to)
    nn.init.normal_(norm.weight, 1.0, 0.02)
    return nn.Sequential(linear(width, to), norm)


def linear(width: int, to: int) -> nn.Linear:
    """Returns a linear layer that starts as He et al., 2015 (fan out), with zeros for a bias."""
    layer = nn.Linear(width, to)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out")
    nn.init.zeros_(layer.bias)
    return layer
