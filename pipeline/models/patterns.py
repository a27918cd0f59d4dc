"""MPANet's head (Wu et al., CVPR 2021): a feature of learned patterns, each of which looks where its mask does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from pipeline.batch import Modality
from pipeline.models.heads import Feature, HeadContext, Neck
from pipeline.models.pooling import Pooling
from pipeline.parts import PartOptions
from pipeline.precision import wide
from pipeline.settings import Sharing
from pipeline.settings_key import key


class PatternsHead(Neck):
    """One feature of (count + 1) D values: mean(A_q X) of each pattern q, then mean(X), over the places of the map X.

    A_q = sigmoid(w_q X + b_q), a 1 x 1 convolution, are the feature's extra `masks`. Neck and classifier as bnneck's,
    but the classifier starts as torch's. As in DoubtedSteam/MPANet f57fd5c, where all pooling is the mean.
    """

    @dataclass(frozen=True)
    class Options(PartOptions):
        count: int = key(6, "patterns", min=1)
        classifiers: Sharing = key("shared", "as for bnneck")

    def __init__(self, settings: Options, name: str, context: HeadContext) -> None:
        if context.pooling != "average":
            raise ValueError(
                f"type: patterns are means over a map, as of model.pooling=average; found {context.pooling}"
            )
        width = (settings.count + 1) * context.width
        super().__init__(width, context.identities, settings.classifiers, context.modalities)
        for layer in self.classifier.modules():
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
        self.name, self.widths, self.extra = name, {name: width}, {name: ("masks",)}
        self.attention = nn.Conv2d(context.width, settings.count, kernel_size=1)
        nn.init.zeros_(self.attention.get_parameter("bias"))

    def forward(self, features: torch.Tensor, pooling: Pooling, modality: Sequence[Modality]) -> dict[str, Feature]:
        """Returns the feature by name, as `Head` says; its masks are (B, count, h w) float32 or wider.

        Raises ValueError where the backbone's places are tokens.
        """
        if features.ndim != 4:
            raise ValueError(f"heads.{self.name}.type: patterns are of a map of rows and columns; found tokens")
        if pooling.channels_last:
            features = features.movedim(3, 1)
        masks = wide(torch.sigmoid(self.attention(features))).flatten(2)
        with torch.autocast(features.device.type, enabled=False):  # what is compared is computed in float32
            weights = torch.cat([masks, torch.ones_like(masks[:, :1])], dim=1)
            places = wide(features).flatten(2)
            pooled = (weights @ places.mT).flatten(1) / places.shape[2]
        made = self.after_pooling(pooled, modality)
        return {self.name: made._replace(extra={"masks": masks}) if self.training else made}

    def freeze_unread(self, reads: Callable[[str, str], bool]) -> None:
        """Freezes layers whose output no loss looks at; the masks are part of the feature itself."""
        self.freeze(partial(reads, self.name))
