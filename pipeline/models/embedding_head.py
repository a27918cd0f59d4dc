"""A head with a fully connected layer: the embedding that older methods train and compare, and its classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import nn

from pipeline.batch import Modality
from pipeline.models.classifier import new_classifier
from pipeline.models.heads import Feature, HeadContext
from pipeline.models.pooling import Pooling
from pipeline.models.sphere import SphereClassifier
from pipeline.models.stems import stem_keys
from pipeline.parts import PartOptions
from pipeline.routing import apply_by_key, runs_of
from pipeline.settings import Sharing
from pipeline.settings_key import key

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "none": nn.Identity,
    "relu": nn.ReLU,
    "leaky_relu": partial(nn.LeakyReLU, 0.1),
}


class EmbeddingHead(nn.Module):
    """pooled -> [norm] -> fully connected layer -> [norm] = embedding -> [activation, dropout] -> classifier.

    The feature's `pooled` is that of the backbone, its `embedding` that of the layer, where there is one. The layer
    starts as He et al., 2015 (fan out), a classifier behind a norm at a deviation of 0.001: both as in the first commit
    of mangye16/Cross-Modal-Re-ID-baseline. Another classifier starts as torch's.
    """

    @dataclass(frozen=True)
    class Options(PartOptions):
        connected: bool = key(True, "a fully connected layer makes the embedding; false: it is the pooled feature")
        width: int | None = key(None, "of that layer; null: as wide as the backbone's map", min=1)
        norm_before: bool = key(False, "batch norm of the pooled feature")
        norm: bool = key(False, "batch norm of the embedding")
        activation: Literal["none", "relu", "leaky_relu"] = key(
            "none", "between embedding and classifier; leaky_relu has the slope 0.1"
        )
        dropout: float = key(0.0, "in front of the classifier", min=0, max=0.99)
        classifier: Literal["linear", "sphere"] = key("linear", "sphere: scaled cosines (Fan et al., JVCIR 2019)")
        scale: float = key(14.0, "of the cosines", min=0.01)
        bias: bool = key(True, "of the linear classifier")
        classifiers: Sharing = key("shared", "as for bnneck")

    def __init__(self, settings: Options, name: str, context: HeadContext) -> None:
        super().__init__()
        if settings.width and not settings.connected:
            raise ValueError(f"width: expected null without a fully connected layer; found {settings.width}")
        self.name, width = name, settings.width or context.width
        self.widths, self.embedding_widths = {name: context.width}, {name: width} if settings.connected else {}
        self.norm_before = nn.BatchNorm1d(context.width) if settings.norm_before else nn.Identity()
        self.connected: nn.Module = nn.Linear(context.width, width) if settings.connected else nn.Identity()
        self.norm = nn.BatchNorm1d(width) if settings.norm else nn.Identity()
        self.to_classifier = nn.Sequential(ACTIVATIONS[settings.activation](), nn.Dropout(settings.dropout))
        if isinstance(self.connected, nn.Linear):
            nn.init.kaiming_normal_(self.connected.weight, mode="fan_out")
            nn.init.zeros_(self.connected.bias)
        self.classifier_of = stem_keys(settings.classifiers, context.modalities)
        names = dict.fromkeys(self.classifier_of.values())
        self.classifier = nn.ModuleDict({key: classifier(settings, width, context.identities) for key in names})

    def forward(self, features: torch.Tensor, pooling: Pooling, modality: Sequence[Modality]) -> dict[str, Feature]:
        """Returns the feature by name, as `Head` says; its embedding is (B, width)."""
        pooled = pooling(features)
        with torch.autocast(pooled.device.type, enabled=False):  # it is compared, in float32
            embedding = self.norm(self.connected(self.norm_before(pooled)))
        logits = self._logits(self.to_classifier(embedding), modality) if self.training else None
        return {self.name: Feature(pooled, embedding, logits)}

    def _logits(self, classified: torch.Tensor, modality: Sequence[Modality]) -> torch.Tensor:
        return apply_by_key(classified, runs_of([self.classifier_of[found] for found in modality]), self.classifier)

    def freeze_unread(self, reads: Callable[[str, str], bool]) -> None:
        """Freezes layers whose output no loss looks at."""
        self.classifier.requires_grad_(reads(self.name, "logits"))
        embeds = reads(self.name, "logits") or reads(self.name, "embedding")
        for layer in (self.norm_before, self.connected, self.norm):
            layer.requires_grad_(embeds)

    @property
    def decorrelates(self) -> bool:
        """Whether `decorrelate` changes nothing but the axes of the embedding."""
        return (
            isinstance(self.connected, nn.Linear)
            and self.connected.out_features <= self.connected.in_features
            and isinstance(self.norm, nn.Identity)
            and isinstance(self.to_classifier[0], nn.Identity)
        )

    @torch.no_grad()
    def decorrelate(self) -> None:
        """Turns the embedding so that the weight vectors of its layer are orthogonal, in place.

        W = V S U^T becomes S U^T, each vector with the sign that is nearer to the one before (Sun et al., "SVDNet",
        ICCV 2017). Distances and angles of embeddings stay; so do the logits, as the classifiers are turned alike.
        """
        assert self.decorrelates and isinstance(self.connected, nn.Linear)
        weight, bias = self.connected.weight, self.connected.bias
        left, values, right = torch.linalg.svd(weight.double(), full_matrices=False)
        turned = values[:, None] * right
        signs = torch.where((turned * weight).sum(dim=1) < 0, -1.0, 1.0)
        turn = left * signs
        weight.copy_(signs[:, None] * turned)
        bias.copy_(bias.double() @ turn)
        for directions in (one.weight for one in self.classifier.children()):
            assert isinstance(directions, nn.Parameter)
            directions.copy_(directions.double() @ turn)


def classifier(settings: EmbeddingHead.Options, width: int, identities: int) -> nn.Module:
    if settings.classifier == "sphere":
        return SphereClassifier(width, identities, settings.scale)
    if settings.norm:
        return new_classifier(width, identities, settings.bias)
    return nn.Linear(width, identities, bias=settings.bias)
