"""AlignGAN's tested network: visible images are translated to infrared ones, and one network embeds all."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from pipeline.batch import Modality
from pipeline.models.classifier import new_classifier
from pipeline.models.heads import Feature
from pipeline.models.image.pixel_range import PixelRange
from pipeline.models.pooling import Pooling
from pipeline.models.reid import ReIDOutput
from pipeline.models.timm_model import Backbone
from pipeline.precision import wide
from pipeline.routing import runs_of


class TwoBranchHead(nn.Module):
    """AlignGAN's head: a classifier behind a hidden layer, and beside it an embedding for the triplet loss.

    (1,151,115 parameters for 2048 channels and 395 identities.)
    """

    def __init__(self, channels: int, identities: int, width: int = 256, dropout: float = 0.5) -> None:
        super().__init__()
        hidden, norm = nn.Linear(channels, width), nn.BatchNorm1d(width)
        nn.init.kaiming_normal_(hidden.weight, mode="fan_out")
        nn.init.zeros_(hidden.bias)
        nn.init.normal_(norm.weight, 1.0, 0.02)
        last = new_classifier(width, identities, bias=True)
        self.classifier = nn.Sequential(nn.Dropout(dropout), hidden, norm, nn.LeakyReLU(0.1), last)
        self.embedding = nn.Linear(channels, width)

    def forward(self, pooled: torch.Tensor) -> Feature:
        """Returns the feature of pooled maps (B, C): an embedding (B, width), and logits in training mode."""
        return Feature(pooled, wide(self.embedding(pooled)), self.classifier(pooled) if self.training else None)


class TranslatedNetwork(nn.Module):
    """Embeds infrared images, and visible ones by their translation.

    translator    visible -> infrared, images in -1 .. 1
    pixels        from the loader's images to that range
    height, width  pixels, of the backbone's input
    mirrored      in evaluation mode a feature is the sum of that of an image and of its mirror image, which is mirrored
                  behind the translator
    """

    def __init__(
        self,
        translator: nn.Module,
        pixels: PixelRange,
        backbone: Backbone,
        pooling: Pooling,
        head: TwoBranchHead,
        *,
        height: int,
        width: int,
        mirrored: bool,
    ) -> None:
        super().__init__()
        self.translator, self.pixels, self.backbone = translator, pixels, backbone
        self.pooling, self.head = pooling, head
        self.size, self.mirrored = (height, width), mirrored

    @property
    def origin(self) -> str:
        """The pre-trained weights it started from (`weights_origin`)."""
        return self.backbone.origin

    def map_of(self, infrared: torch.Tensor) -> torch.Tensor:
        """Returns the backbone's map (B, C, h, w) of infrared images (B, 3, H, W) in -1 .. 1, real or made."""
        resized = functional.interpolate(infrared, self.size, mode="bilinear", align_corners=False)
        return self.backbone.forward_features(self.pixels.normalized(resized))

    def feature_of(self, map_: torch.Tensor) -> Feature:
        return self.head(self.pooling(map_))

    def forward(self, images: torch.Tensor, modality: Sequence[int]) -> ReIDOutput:
        """Returns the features of images (B, 3, H, W), normalized, in their order; modality: of each, on the host."""
        runs = runs_of([Modality(value) for value in modality])
        signed = self.pixels.signed(images)
        pieces = zip(signed.split([length for _, length in runs]), runs, strict=True)
        infrared = [self.translator(piece) if key is Modality.VISIBLE else piece for piece, (key, _) in pieces]
        made = torch.cat([wide(piece) for piece in infrared])
        pooled = self.pooling(self.map_of(made))
        if self.mirrored and not self.training:
            pooled = pooled + self.pooling(self.map_of(made.flip(-1)))
        return ReIDOutput({"global": self.head(pooled)})
