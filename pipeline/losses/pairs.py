"""Terms between two modalities: their sum over pairs of modalities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from pipeline.batch import Modality
from pipeline.losses.modalities import check_in_use, modalities_of
from pipeline.losses.term import FeatureTerm, LossContext, Parts, Rows
from pipeline.settings_key import key


class PairTerm(FeatureTerm):
    """The base of terms between two modalities. A pair of which one has no rows counts 0."""

    @dataclass(frozen=True)
    class Options(FeatureTerm.Options):
        pairs: list[list[str]] = key(
            [["infrared", "visible"]], "pairs of modalities summed over, each in both directions"
        )

    @dataclass(frozen=True)
    class UnitEmbeddings(Options):
        """The options of terms that compare directions of embeddings, unless told otherwise."""

        of: Literal["pooled", "embedding"] = key("embedding", "the feature before or after the BN neck")
        unit_length: bool = key(True, "divide features by their length first")

    settings: Options

    def __init__(self, settings: Options, context: LossContext) -> None:
        super().__init__(settings, context)
        self.pairs = modality_pairs(settings.pairs, context)
        if settings.weight and not self.pairs:
            raise ValueError("pairs: expected one or more; found none (weight 0 switches the term off)")

    def between(
        self, features_1: torch.Tensor, labels_1: torch.Tensor, features_2: torch.Tensor, labels_2: torch.Tensor
    ) -> torch.Tensor:
        """Returns the value for one pair, a scalar: features (N, D) and labels (N,) of one modality, (M, D) and (M,) of
        the other."""
        raise NotImplementedError

    def forward(self, rows: Rows) -> Parts:
        parts = {}
        for first, second in self.pairs:
            one, other = rows.of(first), rows.of(second)
            value = self.between(self.vectors(one), one.labels, self.vectors(other), other.labels)
            parts[f"{first.key}_{second.key}"] = value
        return parts


def modality_pairs(pairs: Sequence[Sequence[str]], context: LossContext) -> list[tuple[Modality, Modality]]:
    """Returns the pairs of modalities of these names. Raises ValueError, which begins with `pairs`, where one isn't a
    pair of different modalities in use, or is there twice."""
    found: list[tuple[Modality, Modality]] = []
    for names in pairs:
        if len(names) != 2:
            raise ValueError(f"pairs: expected pairs of modalities; found {names}")
        first, second = modalities_of("pairs", names)
        check_in_use("pairs", sorted({first, second}), context)
        if first == second or {first, second} in map(set, found):
            raise ValueError(
                f"pairs: expected pairs of two different modalities, each pair once; found {first.key}, {second.key}"
            )
        found.append((first, second))
    return found
