"""A trained run, evaluated once for all its figures, by the code that also gives its results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed

from pipeline import protocols
from pipeline.build import build_index, build_trials
from pipeline.distributed import create_accelerator, precision_of
from pipeline.evaluate import choose_extractor, prepare_evaluation, restore_network
from pipeline.evaluation.distances import DISTANCES
from pipeline.evaluation.features import extract_features
from pipeline.evaluation.judging import choose_re_ranking, tested_rows
from pipeline.evaluation.ranking import Scores
from pipeline.evaluation.scoring import score_trials
from pipeline.models.reid import ReIDNetwork
from pipeline.run.folder import run_path
from pipeline.run.trained_identities import refuse_leak
from pipeline.settings import Settings

LARGEST_RANK = 20
GROUPING = ("mode", "shots", "direction")  # trials that agree in these are averaged


class LeftOut(Exception):
    """A figure that can't be drawn of this run; the message says why."""


@dataclass(frozen=True)
class EvaluatedRun:
    """What figures are made of; rows of the index are int64.

    rows     (N,) the test images: all that a trial uses, each once
    features (length of the index, D) float32, filled for `rows`
    trials   of the protocol; `scores` of each, with a CMC up to LARGEST_RANK
    network  in eval mode; None where pixels are compared
    """

    settings: Settings
    index: pd.DataFrame
    rows: np.ndarray
    features: torch.Tensor
    trials: list[protocols.Trial]
    scores: list[Scores]
    network: ReIDNetwork | None
    accelerator: Accelerator


def evaluate_run(words: list[str], accelerator: Accelerator | None = None) -> EvaluatedRun:
    """A run folder and `key=value` words, as for pipeline.evaluate; ValueError where it isn't a trained run.

    `accelerator` is that of another run evaluated before: a process has one precision.
    """
    if not Path(words[0]).is_dir():
        raise ValueError(f"{words[0]}: expected the folder of a trained run; found none")
    settings, kept = prepare_evaluation(words)
    accelerator = accelerator or create_accelerator(settings, settings.output)
    set_seed(settings.seed)
    index = build_index(settings.data)
    refuse_leak(settings, kept, run_path(kept), index)
    network = restore_network(settings, index, kept, accelerator.device)
    extract = choose_extractor(settings, network, accelerator)
    trials = build_trials(settings, index)
    rows = tested_rows(trials)
    tested = extract_features(extract, index, rows, settings, accelerator)
    features = tested.new_zeros((len(index), tested.shape[1]))
    features[torch.from_numpy(rows).to(features.device)] = tested
    evaluation = settings.evaluation
    options = {"metric": evaluation.metric, "re_ranking": choose_re_ranking(evaluation), "max_rank": LARGEST_RANK}
    scores = score_trials(features, index, trials, **options)
    return EvaluatedRun(settings, index, rows, features, trials, scores, network, accelerator)


def evaluate_runs(folders: list[str], overrides: list[str]) -> list[EvaluatedRun]:
    """Each folder's run with the same overrides."""
    runs: list[EvaluatedRun] = []
    for folder in folders:
        runs.append(evaluate_run([folder, *overrides], runs[0].accelerator if runs else None))
        if not of_one_precision(runs[-1]):
            last, first = runs[-1].settings.train.precision, precision_of(runs[0].accelerator)
            raise ValueError(f"{folder}: train.precision is {last}, that of {folders[0]} {first}; give it for all")
    return runs


def of_one_precision(run: EvaluatedRun) -> bool:
    """Whether a run was evaluated in the precision it asks for, not in that of another run; null asks for none."""
    return run.settings.train.precision in (None, precision_of(run.accelerator))


def trial_distances(run: EvaluatedRun, trial: protocols.Trial) -> torch.Tensor:
    """(Q, G) float32, by which the trial's gallery is ranked; pairs that the protocol leaves out are among them."""
    query, gallery = (run.features[torch.from_numpy(rows)] for rows in (trial.query, trial.gallery))
    metric, re_ranking = run.settings.evaluation.metric, choose_re_ranking(run.settings.evaluation)
    return re_ranking(query, gallery, metric=metric) if re_ranking else DISTANCES[metric](gallery)(query)


def trial_groups(trials: list[protocols.Trial]) -> dict[tuple[str, ...], list[int]]:
    """Values of GROUPING -> the numbers of their trials, in the order of the trials."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, trial in enumerate(trials):
        groups.setdefault(tuple(str(trial.fields[name]) for name in GROUPING), []).append(number)
    return groups


def group_names(groups: list[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """What tells each group from the others: `indoor`, `multi`, `visible_to_infrared`; empty where there is one."""
    telling = [place for place in range(len(GROUPING)) if len({group[place] for group in groups}) > 1]
    return {group: "_".join(group[place] for place in telling) for group in groups}
