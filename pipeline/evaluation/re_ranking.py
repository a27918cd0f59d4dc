"""Which re-ranking the settings ask for, by name, with the keys of its parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from pipeline.evaluation import affinity, rerank
from pipeline.evaluation.scoring import ReRanking
from pipeline.settings import EvaluationSettings


class Kind(NamedTuple):
    """function    (Q, D) and (G, D) features -> (Q, G) distances
    check       of its parameters and a metric: raises ValueError where they can't be
    parameters  by the names of its arguments, their keys in `evaluation`
    """

    function: ReRanking
    check: Callable[..., None]
    parameters: Mapping[str, str]

    def values(self, evaluation: EvaluationSettings) -> dict[str, int | float]:
        return {argument: getattr(evaluation, key) for argument, key in self.parameters.items()}


KINDS = {
    "k_reciprocal": Kind(
        rerank.k_reciprocal_distances,
        rerank.check_parameters,
        {"k1": "re_ranking_k1", "k2": "re_ranking_k2", "weight": "re_ranking_weight"},
    ),
    "aim": Kind(affinity.aim_distances, affinity.check_parameters, {"k1": "aim_k1", "k2": "aim_k2"}),
}


def choose_re_ranking(evaluation: EvaluationSettings) -> ReRanking | None:
    """Returns the re-ranking that the settings ask for; None for none. Raises ValueError where it can't be."""
    if evaluation.re_ranking == "none":
        return None
    kind = KINDS[evaluation.re_ranking]
    values = kind.values(evaluation)
    kind.check(**values, metric=evaluation.metric)
    return partial(kind.function, **values)


def describe_re_ranking(evaluation: EvaluationSettings) -> str:
    """Returns `none`, or a name with its parameters: `k_reciprocal(20,6,0.3)`, `aim(4,1)`."""
    if evaluation.re_ranking == "none":
        return "none"
    values = KINDS[evaluation.re_ranking].values(evaluation).values()
    return f"{evaluation.re_ranking}({','.join(map(str, values))})"
