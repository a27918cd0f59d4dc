"""The contract of a term of the loss, and the rows of a batch that it looks at."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from pipeline.batch import Modality
from pipeline.losses.distance import to_unit_length
from pipeline.parts import PartOptions
from pipeline.precision import wide
from pipeline.routing import rows_of, runs_of
from pipeline.settings_key import key

Parts = dict[str, torch.Tensor]
FEATURES = ("pooled", "embedding", "logits")
EXTRA = ("masks",)  # what only some heads make beside them
READABLE = (*FEATURES, *EXTRA, "camera", "version")
JOINED = ("pooled", "embedding")  # what stands side by side where a term looks at its features as one


@dataclass(frozen=True)
class Rows:
    """N rows of one feature, of this rank's share of a batch or of all ranks.

    parts      by name, those of READABLE that a term `reads`; a rank's own rows have all
    labels     (N,) int64, 0 .. C - 1
    modality   N values of `Modality` on the host; rows of a modality stand together, in each version of a rank's rows
    """

    parts: Mapping[str, torch.Tensor]
    labels: torch.Tensor
    modality: Sequence[int]

    @property
    def pooled(self) -> torch.Tensor:
        """The feature before the BN neck, (N, D)."""
        return self._part("pooled")

    @property
    def embedding(self) -> torch.Tensor:
        """The feature after the BN neck, (N, D)."""
        return self._part("embedding")

    @property
    def logits(self) -> torch.Tensor:
        """The classifier's output, (N, C)."""
        return self._part("logits")

    @property
    def masks(self) -> torch.Tensor:
        """Where each of Q patterns of the feature looks, (N, Q, places of the map), 0-1."""
        return self._part("masks")

    @property
    def camera(self) -> torch.Tensor:
        """The data set's own number of the camera, (N,) int64."""
        return self._part("camera")

    @property
    def version(self) -> torch.Tensor:
        """Which version of its image a row is, (N,) int64: 0, or where inserts multiply rows 0 .. versions - 1.

        Of a rank's own rows those of version 0 stand first, in the order of the images, then those of version 1.
        """
        return self._part("version")

    def _part(self, name: str) -> torch.Tensor:
        if name not in self.parts:
            raise LookupError(f"{name}: expected among what the term reads; found {', '.join(self.parts)}")
        return self.parts[name]

    def with_only(self, names: Collection[str]) -> Rows:
        """Returns the same rows with these parts alone."""
        return Rows({name: part for name, part in self.parts.items() if name in names}, self.labels, self.modality)

    def __len__(self) -> int:
        return len(self.labels)

    def of(self, modality: Modality) -> Rows:
        """Returns the rows of one modality, in order; possibly none."""
        return self._by_modality[modality]

    @cached_property
    def _by_modality(self) -> dict[Modality, Rows]:
        """Divides the rows once for all terms: the gradients of a modality's rows are then joined once as well."""
        runs = runs_of(self.modality)
        divided = {}
        for modality in Modality:
            parts = {name: rows_of(part, runs, modality) for name, part in self.parts.items()}
            labels = rows_of(self.labels, runs, modality)
            divided[modality] = Rows(parts, labels, (int(modality),) * len(labels))
        return divided


def side_by_side(features: Sequence[Rows]) -> Rows:
    """Returns the same rows with several features side by side, as one: JOINED; their camera is that of all."""
    first = features[0]
    if len(features) == 1:
        return first
    joined = {name: torch.cat([rows.parts[name] for rows in features], dim=1) for name in first.parts if name in JOINED}
    return Rows({**first.parts, **joined}, first.labels, first.modality)


class Measured(NamedTuple):
    """A term's value, and numbers that are logged beside it and minimized by nobody.

    value     a scalar, or scalars by name whose sum it is
    measured  scalars by name, each a mean over rows; they need no graph
    """

    value: torch.Tensor | Parts
    measured: Parts


@dataclass(frozen=True)
class LossContext:
    """The facts a term is built from.

    modalities  in use in training
    identities  C, number of training identities; 0 where no network is trained
    widths      feature -> D, number of values of its pooled form
    embedding_widths  likewise of its embedding, where that is another
    versions    of each image among the rows
    extra       feature -> those of EXTRA that its head makes
    """

    modalities: tuple[Modality, ...]
    identities: int
    widths: dict[str, int]
    embedding_widths: Mapping[str, int] = field(default_factory=dict)
    versions: int = 1
    extra: Mapping[str, Collection[str]] = field(default_factory=dict)

    def width(self, feature: str, what: str) -> int:
        """Returns the number of values of a feature; what: pooled or embedding."""
        return self.embedding_widths.get(feature, self.widths[feature]) if what == "embedding" else self.widths[feature]


class LossTerm(nn.Module):
    """A term of the loss, which may have parameters of its own.

    reads          which of READABLE it uses; layers whose output no term reads are frozen
    compares_rows  whether it compares rows: it then gets the rows of all ranks (`method.mining` global)

    A subclass checks its settings in `__init__` and raises ValueError beginning with the argument's name.
    """

    @dataclass(frozen=True)
    class Options(PartOptions):
        weight: float = key(1.0, "factor of the term; 0: neither computed nor reported", min=0)
        features: list[str] | None = key(None, "features the term is the mean over; null: all that the heads make")
        joined: bool = key(False, "look at its features side by side, as one, instead of the mean over them")

    reads: tuple[str, ...] = ("pooled",)
    compares_rows = True

    settings: Options

    def __init__(self, settings: Options, context: LossContext) -> None:
        super().__init__()
        self.settings, self.context = settings, context
        if isinstance(self.reads, str) or not set(self.reads) <= set(READABLE):
            raise TypeError(f"{type(self).__name__}.reads: expected some of {READABLE}; found {self.reads!r}")
        unjoined = [name for name in self.reads if name not in (*JOINED, "camera")]
        if settings.joined and unjoined:
            raise ValueError(f"joined: expected false for a term that reads {unjoined[0]}, which can't be side by side")
        unknown = [name for name in settings.features or () if name not in context.widths]
        if unknown:
            raise ValueError(f"features: expected some of {', '.join(context.widths)}; found {unknown[0]}")
        for what in set(EXTRA) & set(self.reads):
            lacking = [name for name in self.features if what not in context.extra.get(name, ())]
            if lacking:
                raise ValueError(f"features: expected those of heads that make {what}; found {lacking[0]}")

    @property
    def features(self) -> list[str]:
        return self.settings.features or list(self.context.widths)

    @property
    def views(self) -> list[tuple[str, ...]]:
        """The features of each call: one, or all side by side."""
        return [tuple(self.features)] if self.settings.joined else [(name,) for name in self.features]

    def width_of(self, what: str) -> int:
        """Returns the number of values of what it is called with, for a layer of its own; what: pooled or embedding.

        Raises ValueError where that differs between its features.
        """
        widths = {sum(self.context.width(name, what) for name in view) for view in self.views}
        if len(widths) != 1:
            raise ValueError(f"features: expected those of one width; found {', '.join(self.features)}")
        return widths.pop()

    @property
    def adds_rows(self) -> bool:
        """Whether the value is a sum over rows, which grows with their number, rather than a mean."""
        return False

    def begin_step(self, step: int, steps_per_epoch: int) -> None:
        """Prepares for an optimizer step, counted from 0, on every rank alike: for terms that change in the course of a
        training. Called once a step, however many batches that takes.

        What it does is a function of the step and of the state before it, so that a resumed training does the same.
        """

    def forward(self, rows: Rows) -> torch.Tensor | Parts | Measured:
        """Returns the term's value for one feature: a scalar, or scalars by name whose sum it is; or such a value with
        numbers that are only logged."""
        raise NotImplementedError

    def parameter_group(self, lr: float) -> dict[str, Any]:
        """Returns what the optimizer is told of the term's own parameters, where it has any; `lr` is the heads'."""
        return {"params": [parameter for parameter in self.parameters() if parameter.requires_grad], "lr": lr}


class FeatureTerm(LossTerm):
    """The base of terms that look at one vector per row."""

    @dataclass(frozen=True)
    class Options(LossTerm.Options):
        of: Literal["pooled", "embedding"] = key("pooled", "the feature before or after the BN neck")
        unit_length: bool = key(False, "divide features by their length first")

    settings: Options

    def __init__(self, settings: Options, context: LossContext) -> None:
        super().__init__(settings, context)
        self.reads = (settings.of,)

    def vectors(self, rows: Rows) -> torch.Tensor:
        """Returns what is compared, (N, D) in float32 or wider."""
        vectors = wide(rows.embedding if self.settings.of == "embedding" else rows.pooled)
        return to_unit_length(vectors) if self.settings.unit_length else vectors

    def together(self, rows: Rows, modalities: Sequence[Modality]) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns what is compared, and the labels, of the rows of some modalities below each other."""
        parts = [rows.of(modality) for modality in modalities]
        return torch.cat([self.vectors(part) for part in parts]), torch.cat([part.labels for part in parts])


def check_versions(kind: str, fewest: int, context: LossContext) -> None:
    """Raises ValueError where a kind of term compares more versions of an image than a network makes."""
    if context.versions < fewest:
        raise ValueError(
            f"type: {kind} is for {fewest} versions of an image or more, which an insert such as dee makes; found "
            f"{context.versions}"
        )


def scalars(name: str, value: torch.Tensor | Parts, rows: Rows) -> Iterator[tuple[str, torch.Tensor]]:
    """Yields the named scalars of a term's value; a single one has no name.

    Raises ValueError with the term's `name` where it is something else, or doesn't depend on what `rows` depend on.
    """
    values = value if isinstance(value, dict) else {"": value}
    check_scalars(name, values)
    trained = torch.is_grad_enabled() and any(part.requires_grad for part in rows.parts.values())
    if trained and not all(scalar.requires_grad for scalar in values.values()):
        raise ValueError(f"losses.{name}: expected a value that depends on the features; found a constant")
    if not values:
        raise ValueError(f"losses.{name}: expected a scalar tensor, or some by name; found none")
    yield from values.items()


def check_scalars(name: str, values: Mapping[str, Any]) -> None:
    """Raises ValueError with the term's `name` where one of its values isn't a scalar."""
    for part, scalar in values.items():
        if not (isinstance(scalar, torch.Tensor) and scalar.ndim == 0 and scalar.is_floating_point()):
            kind = (
                f"{tuple(scalar.shape)} {scalar.dtype}" if isinstance(scalar, torch.Tensor) else type(scalar).__name__
            )
            found = " ".join(filter(None, (part, kind)))
            raise ValueError(f"losses.{name}: expected a scalar tensor, or some by name; found {found}")
