"""A trained run, evaluated once for all its figures, in the way that also gives its results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator

from pipeline import protocols
from pipeline.distributed import precision_of
from pipeline.evaluation.corruption import uncorrupted
from pipeline.evaluation.distances import DISTANCES
from pipeline.evaluation.ranking import Scores
from pipeline.evaluation.re_ranking import choose_re_ranking
from pipeline.evaluation.session import Evaluation, evaluate, open_session
from pipeline.settings import Settings

GROUPING = ("mode", "shots", "direction")  # trials that agree in these are averaged


class LeftOut(Exception):
    """A figure that can't be drawn of this run; the message says why."""


@dataclass(frozen=True)
class EvaluatedRun:
    """The data of a run's figures; rows of the index are int64.

    rows     (N,) the test images: all that a trial uses, each once
    features (length of the index, D) float32, filled for `rows`
    trials   of the protocol; `scores` of each
    network  in eval mode; None for raw pixels
    """

    settings: Settings
    index: pd.DataFrame
    rows: np.ndarray
    features: torch.Tensor
    trials: list[protocols.Trial]
    scores: list[Scores]
    network: torch.nn.Module | None
    accelerator: Accelerator

    @classmethod
    def of(cls, evaluation: Evaluation) -> EvaluatedRun:
        """Adapts an evaluation: figures look features up by row of the index."""
        session, tested = evaluation.session, evaluation.features
        features = tested.new_zeros((len(session.index), tested.shape[1]))
        features[torch.from_numpy(evaluation.rows).to(features.device)] = tested
        return cls(
            session.settings,
            session.index,
            evaluation.rows,
            features,
            evaluation.trials,
            evaluation.result.scores,
            evaluation.extractor.network,
            session.accelerator,
        )


def evaluate_run(
    arguments: Sequence[str], accelerator: Accelerator | None = None, checkpoint: str | None = None
) -> EvaluatedRun:
    """Evaluates a run folder with overrides, as pipeline.evaluate does, but keeps no results.

    Images are shown, and so evaluated, as they were captured. `accelerator` is that of a run evaluated before: a
    process has one precision; `checkpoint`: last, best or a step. Raises ValueError where it isn't the folder of a
    trained run.
    """
    if not Path(arguments[0]).is_dir():
        raise ValueError(f"{arguments[0]}: expected the folder of a trained run; found none")
    session = open_session(arguments, accelerator, checkpoint)
    return EvaluatedRun.of(evaluate(replace(session, settings=uncorrupted(session.settings))))


def evaluate_runs(
    folders: Sequence[str], overrides: Sequence[str], checkpoint: str | None = None
) -> list[EvaluatedRun]:
    """Evaluates each folder's run with the same overrides and choice of weights."""
    runs: list[EvaluatedRun] = []
    for folder in folders:
        runs.append(evaluate_run([folder, *overrides], runs[0].accelerator if runs else None, checkpoint))
        if not of_one_precision(runs[-1]):
            last, first = runs[-1].settings.train.precision, precision_of(runs[0].accelerator)
            raise ValueError(f"{folder}: train.precision is {last}, that of {folders[0]} {first}; give it for all")
    return runs


def of_one_precision(run: EvaluatedRun) -> bool:
    """Returns whether a run was evaluated in the precision it asks for, if in any, and not in that of another run."""
    return run.settings.train.precision in (None, precision_of(run.accelerator))


def trial_distances(run: EvaluatedRun, trial: protocols.Trial) -> torch.Tensor:
    """Returns (Q, G) float32 distances, by which the trial's gallery is ranked.

    They include pairs that the protocol leaves out.
    """
    query, gallery = (run.features[torch.from_numpy(rows)] for rows in (trial.query, trial.gallery))
    metric, re_ranking = run.settings.evaluation.metric, choose_re_ranking(run.settings.evaluation)
    return re_ranking(query, gallery, metric=metric) if re_ranking else DISTANCES[metric](gallery)(query)


def trial_groups(trials: list[protocols.Trial]) -> dict[tuple[str, ...], list[int]]:
    """Returns the values of GROUPING with the numbers of their trials, in the order of the trials."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, trial in enumerate(trials):
        groups.setdefault(tuple(str(trial.fields[name]) for name in GROUPING), []).append(number)
    return groups


def group_names(groups: list[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """Returns what tells each group from the others, as `indoor` or `multi`; empty where there is one."""
    telling = [place for place in range(len(GROUPING)) if len({group[place] for group in groups}) > 1]
    return {group: "_".join(group[place] for place in telling) for group in groups}
