"""Heads: from the backbone's map to features, each with a BN neck and a classifier."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, Protocol, cast

import torch
from torch import nn

from pipeline.batch import Modality
from pipeline.models.pooling import Pooling
from pipeline.models.stems import stem_keys
from pipeline.parts import PartOptions
from pipeline.routing import apply_by_key, runs_of
from pipeline.settings import Sharing
from pipeline.settings_key import key


class Feature(NamedTuple):
    """One feature of B images; D is its width, C the number of training identities.

    pooled     (B, D) float32, before the BN neck: for the metric losses
    embedding  (B, D) float32, after it: for retrieval; a head may give it a width of its own
    logits     (B, C), of autocast's type under autocast; None in eval mode, where the classifier is not needed
    """

    pooled: torch.Tensor
    embedding: torch.Tensor
    logits: torch.Tensor | None


@dataclass(frozen=True)
class HeadContext:
    """The facts a head is built from.

    width       of the backbone's map
    modalities  in use in training
    identities  C, number of training identities
    """

    width: int
    modalities: Sequence[Modality]
    identities: int


class Head(Protocol):
    """A module that makes features of the backbone's map. Built from its Options, its name and a HeadContext.

    widths            D of each of its pooled features, by name
    embedding_widths  D of their embeddings, where a head has that attribute
    """

    widths: dict[str, int]

    def __call__(self, features: torch.Tensor, pooling: Pooling, modality: Sequence[Modality]) -> dict[str, Feature]:
        """Returns features by name. features: the backbone's map of B images; modality: of each."""

    def freeze_unread(self, reads: Callable[[str, str], bool]) -> None:
        """Freezes layers whose output no loss looks at. `reads`: whether one does, of (feature, field of Feature)."""


class Neck(nn.Module):
    """The BN neck and the classifiers of one feature. The neck's bias stays 0, classifiers have none (Luo et al., "Bag
    of Tricks", 2019), unless asked for.

    classifiers  "shared": one; "source" or "modality": each row goes through that of its own, as with stems
    norm         False leaves the neck out: the embedding is the pooled feature
    bias         of the classifiers, from 0
    """

    def __init__(
        self,
        width: int,
        identities: int,
        classifiers: str,
        modalities: Sequence[Modality],
        *,
        norm: bool = True,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.classifier_of = stem_keys(classifiers, modalities)
        self.neck = nn.BatchNorm1d(width) if norm else nn.Identity()
        names = dict.fromkeys(self.classifier_of.values())
        made = {name: nn.Linear(width, identities, bias=bias) for name in names}
        self.classifier = made["shared"] if classifiers == "shared" else nn.ModuleDict(made)
        if isinstance(self.neck, nn.BatchNorm1d):
            self.neck.bias.requires_grad_(False)
        for classifier in made.values():
            nn.init.normal_(classifier.weight, std=0.001)
            if bias:
                nn.init.zeros_(classifier.bias)

    def after_pooling(self, pooled: torch.Tensor, modality: Sequence[Modality]) -> Feature:
        """Returns the feature of pooled (B, D) rows; modality: of each row."""
        embedding = self.neck(pooled)
        return Feature(pooled, embedding, self._logits(embedding, modality) if self.training else None)

    def _logits(self, embedding: torch.Tensor, modality: Sequence[Modality]) -> torch.Tensor:
        if not isinstance(self.classifier, nn.ModuleDict):
            return self.classifier(embedding)
        return apply_by_key(embedding, runs_of([self.classifier_of[found] for found in modality]), self.classifier)

    def freeze(self, reads: Callable[[str], bool]) -> None:
        """Freezes what no loss reaches: distributed training waits for a gradient of every trained parameter.

        reads: whether a loss looks at a field of Feature.
        """
        self.classifier.requires_grad_(reads("logits"))
        if isinstance(self.neck, nn.BatchNorm1d):
            self.neck.weight.requires_grad_(reads("logits") or reads("embedding"))


class BNNeckHead(Neck):
    """One feature of the whole map, called as the head: pooling, BN neck, classifier."""

    @dataclass(frozen=True)
    class Options(PartOptions):
        classifiers: Sharing = key(
            "shared", "one classifier, one per captured modality and its derivative (source), or one per modality"
        )

    def __init__(self, settings: Options, name: str, context: HeadContext) -> None:
        super().__init__(context.width, context.identities, settings.classifiers, context.modalities)
        self.name, self.widths = name, {name: context.width}

    def forward(self, features: torch.Tensor, pooling: Pooling, modality: Sequence[Modality]) -> dict[str, Feature]:
        """Returns the feature by name, as `Head` says."""
        return {self.name: self.after_pooling(pooling(features), modality)}

    def freeze_unread(self, reads: Callable[[str, str], bool]) -> None:
        self.freeze(partial(reads, self.name))


class StripesHead(nn.Module):
    """One feature of each horizontal stripe of the map, called `<head>_0`, ... from the top: pooling, if asked for a
    reduction, BN neck, classifier (Sun et al., "Beyond Part Models", ECCV 2018)."""

    @dataclass(frozen=True)
    class Options(PartOptions):
        count: int = key(6, "horizontal stripes", min=1)
        width: int | None = key(None, "values each stripe's feature is reduced to; null: all the backbone's", min=1)
        norm: bool = key(False, "batch norm of the reduced feature")
        activation: Literal["none", "relu"] = key("none", "of the reduced feature, behind its norm")
        neck: bool = key(True, "false: no BN neck, the embedding is the pooled feature")
        bias: bool = key(False, "of the classifiers")
        classifiers: Sharing = key("shared", "as for bnneck")

    def __init__(self, settings: Options, name: str, context: HeadContext) -> None:
        super().__init__()
        if not settings.width and (settings.norm or settings.activation != "none"):
            raise ValueError("width: expected a number with norm or activation, which are of the reduced feature")
        self.name = name
        width = settings.width or context.width
        self.widths = {f"{name}_{number}": width for number in range(settings.count)}
        reduce = partial(reduction, context.width, settings) if settings.width else nn.Identity
        self.reductions = nn.ModuleDict({stripe: reduce() for stripe in self.widths})
        facts = width, context.identities, settings.classifiers, context.modalities
        necks = nn.ModuleDict({stripe: Neck(*facts, norm=settings.neck, bias=settings.bias) for stripe in self.widths})
        self.necks = cast("Mapping[str, Neck]", necks)  # nn.ModuleDict has no type of its values

    def forward(self, features: torch.Tensor, pooling: Pooling, modality: Sequence[Modality]) -> dict[str, Feature]:
        """Returns features by name, as `Head` says. Raises ValueError where the map has too few rows to divide."""
        try:
            parts = pooling.stripes(features, len(self.widths))
        except ValueError as error:
            raise ValueError(f"heads.{self.name}.{error}") from None
        stripes = zip(self.widths, parts, strict=True)
        return {name: self.necks[name].after_pooling(self.reductions[name](part), modality) for name, part in stripes}

    def freeze_unread(self, reads: Callable[[str, str], bool]) -> None:
        for name, neck in self.necks.items():
            neck.freeze(partial(reads, name))
            self.reductions[name].requires_grad_(any(reads(name, what) for what in Feature._fields))


class Reduction(nn.Sequential):
    """Linear -> batch norm, if asked for -> ReLU, if asked for: of pooled features (B, D), in float32 also under
    autocast, since they are compared.

    The layer in front of a norm starts as He et al., 2015 (fan in), and has no bias, which the norm would take away.
    """

    def __init__(self, width: int, settings: StripesHead.Options) -> None:
        assert settings.width
        linear = nn.Linear(width, settings.width, bias=not settings.norm)
        if settings.norm:
            nn.init.kaiming_normal_(linear.weight)
        norm = nn.BatchNorm1d(settings.width) if settings.norm else nn.Identity()
        activation = nn.ReLU() if settings.activation == "relu" else nn.Identity()
        super().__init__(OrderedDict(linear=linear, norm=norm, activation=activation))

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        with torch.autocast(pooled.device.type, enabled=False):
            return super().forward(pooled)


def reduction(width: int, settings: StripesHead.Options) -> nn.Module:
    """Returns the layers from `width` values to those of a stripe's feature: one alone, or a `Reduction`."""
    if settings.norm or settings.activation != "none":
        return Reduction(width, settings)
    assert settings.width
    return nn.Linear(width, settings.width)
