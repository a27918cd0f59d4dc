"""The weighted sum of loss terms over a global batch, computed by ranks that each hold a part of it."""

from __future__ import annotations

import math
import operator
from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from typing import cast

import torch
from torch import nn

from pipeline.gathering import gather_rows
from pipeline.losses.term import (
    READABLE,
    LossContext,
    LossTerm,
    Measured,
    Parts,
    Rows,
    check_scalars,
    scalars,
    side_by_side,
)
from pipeline.metric_columns import MEASURED, POSITION
from pipeline.parts import LOSSES, build_part
from pipeline.routing import by_name


class Objective(nn.Module):
    """The loss of each rank: sum of weight x term. The mean over the ranks is the loss of the global batch, and so are
    the gradients that DDP averages; with global mining they do not depend on how many ranks share the batch.

    terms       by name; those of weight 0 are left out
    mining      "global": terms that compare rows get those of all ranks; "local": a rank's own, which needs no exchange
    identities  of a global batch on each rank
    """

    def __init__(self, terms: Mapping[str, LossTerm], mining: str, identities: Sequence[int], rank: int = 0) -> None:
        super().__init__()
        in_use = by_name("losses", {name: term for name, term in terms.items() if term.settings.weight})
        self.terms = cast("Mapping[str, LossTerm]", in_use)  # nn.ModuleDict has no type of its values
        if not self.terms:
            raise ValueError("losses: every term is switched off; give one of them a weight above 0")
        check_names(list(self.terms))
        self.mining, self.identities, self.rank = mining, tuple(identities), rank

    def forward(self, features: Mapping[str, Rows]) -> Parts:
        """Returns scalars: "loss" with its graph, then detached and unweighted each term, its parts as `<term>_<part>`
        where it has some, or is the mean over several features, and what it measured as `<term>_<measured>`.

        features: by name, this rank's rows.
        """
        made: dict[tuple, Rows] = {}
        report: Parts = {}
        weighted = []
        for name, term in self.terms.items():
            parts: Parts = {}
            measured: Parts = {}
            for view in term.views:
                rows, gathered = self._rows(features, view, term, made)
                of_feature = f"{view[0]}_" if len(term.views) > 1 else ""
                value, beside = values_of(name, term(rows))
                for part, scalar in scalars(name, value, rows):
                    share = self._share(gathered, term.adds_rows)
                    parts[f"{of_feature}{part}".rstrip("_")] = scalar * share / len(term.views)
                share = self._share(gathered, False)
                measured |= {f"{of_feature}{what}": scalar * share for what, scalar in beside.items()}
            total = reduce(operator.add, parts.values())
            weighted.append(term.settings.weight * total)
            report[name] = total.detach()
            report |= {f"{name}_{part}": value.detach() for part, value in (parts | measured).items() if part}
        return {"loss": reduce(operator.add, weighted), **report}

    def _rows(
        self, features: Mapping[str, Rows], view: tuple[str, ...], term: LossTerm, made: dict[tuple, Rows]
    ) -> tuple[Rows, bool]:
        """Returns the rows a term gets of a feature, or of several side by side, and whether they are of all ranks.

        made: rows that a term of this step has got already, for others that read the same.
        """
        gathers = len(self.identities) > 1 and self.mining == "global" and term.compares_rows
        key = (view, gathers, frozenset(term.reads))
        if key not in made and len(view) > 1:
            made[key] = side_by_side([self._rows(features, (name,), term, made)[0] for name in view])
        elif key not in made:
            own, mine = features[view[0]], self.identities[self.rank]
            counts = [identities * (len(own) // mine) for identities in self.identities]
            made[key] = rows_of_ranks(own, counts, term.reads) if gathers else own.with_only(term.reads)
        return made[key], gathers

    def _share(self, gathered: bool, adds_rows: bool) -> float:
        """Returns the factor of a value, such that its mean over the ranks is the global batch's: a rank with more rows
        than others counts more."""
        ranks = len(self.identities)
        if gathered:
            return 1.0
        return float(ranks) if adds_rows else self.identities[self.rank] * ranks / sum(self.identities)

    def reads(self, feature: str, what: str) -> bool:
        """Whether a term uses `what` (pooled, embedding or logits) of a feature."""
        return any(feature in term.features and what in term.reads for term in self.terms.values())


def values_of(name: str, result: torch.Tensor | Parts | Measured) -> tuple[torch.Tensor | Parts, Parts]:
    """Returns a term's value and what it measured beside it. Raises ValueError with its `name` for what can't be
    reported."""
    if not isinstance(result, Measured):
        return result, {}
    value, measured = result
    check_scalars(name, measured)
    for what in measured:
        if not what or isinstance(value, dict) and what in value:
            raise ValueError(f"losses.{name}: expected a name of its own for what is measured; found {what!r}")
    return value, measured


def check_names(names: Sequence[str]) -> None:
    """Raises ValueError where the name of a term is that of another column of metrics.csv."""
    for name in names:
        begins = [other for other in names if name.startswith(f"{other}_")]
        if name in (*POSITION, *MEASURED, "loss"):
            raise ValueError(f"losses.{name}: choose another name: metrics.csv has a column {name} already")
        if begins:
            raise ValueError(f"losses.{name}: choose another name: {begins[0]}_... are the parts of losses.{begins[0]}")


def build_objective(
    losses: Mapping[str, LossTerm.Options], context: LossContext, mining: str, identities: Sequence[int], rank: int = 0
) -> Objective:
    """Returns the objective of a configuration's `losses`. Raises ValueError naming a key that is impossible."""
    for name, settings in losses.items():
        if not math.isfinite(settings.weight):
            raise ValueError(f"losses.{name}.weight: expected a number of 0 or more; found {settings.weight}")
    terms = {name: build_part(LOSSES, settings, f"losses.{name}", context) for name, settings in losses.items()}
    return Objective(terms, mining, identities, rank)


def rows_of_ranks(own: Rows, counts: Sequence[int], wanted: Collection[str]) -> Rows:
    """Returns the rows of every rank below each other, of READABLE those `wanted`; counts: how many each rank has."""
    # in the order of READABLE: every rank must ask for the same exchange at the same time
    parts = {name: gather_rows(own.parts[name], counts) for name in READABLE if name in wanted}
    labels, modality = gather_rows(own.labels, counts), modality_of_ranks(own.modality, counts)
    return Rows(parts, labels, modality)


def modality_of_ranks(modality: Sequence[int], rows: Sequence[int]) -> list[int]:
    """Returns the modality of every rank's rows: on each they stand together, in the same order and equally many."""
    kinds = list(dict.fromkeys(modality))
    return [kind for count in rows for kind in kinds for _ in range(count // len(kinds))]
