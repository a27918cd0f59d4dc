"""Evaluates a few images before a training, so that an evaluation which would fail at its end fails now."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from accelerate import Accelerator

from pipeline.build import build_trials
from pipeline.corruptions.corrupt import RANDOM
from pipeline.evaluation.corruption import ALL, with_corruption
from pipeline.evaluation.evaluator import tested_rows
from pipeline.evaluation.features import Extractor, extract_features
from pipeline.evaluation.re_ranking import choose_re_ranking
from pipeline.evaluation.scoring import excluded_pairs, score_trials
from pipeline.protocols import Trial
from pipeline.settings import Settings


def rehearse(settings: Settings, index: pd.DataFrame, extract: Extractor, accelerator: Accelerator) -> None:
    """Makes all trials, and takes a batch of queries and a batch of the first gallery through network and scoring.

    Called by all ranks. Raises what the evaluation would raise: ValueError for trials that can't be made as asked and
    images that can't be read. Features that aren't finite may become so by the training.
    """
    if settings.evaluation.corruption == ALL:
        settings = with_corruption(settings, RANDOM)
    evaluation = settings.evaluation
    trial = few_of(build_trials(settings, index)[0], index, evaluation.batch)
    rows = tested_rows([trial])
    features = extract_features(extract, index, rows, settings, accelerator).nan_to_num()
    tested, within = index.iloc[rows].reset_index(drop=True), [trial.within(rows)]
    score_trials(features, tested, within, metric=evaluation.metric, re_ranking=choose_re_ranking(evaluation))


def few_of(trial: Trial, index: pd.DataFrame, most: int) -> Trial:
    """Returns the trial with its first queries that have a true match, at most `most`, and as much of its gallery.

    The queries' matches come first. Raises ValueError where no query has a true match.
    """
    identity = index["identity"].to_numpy()
    for begin in range(0, len(trial.query), most):
        query = trial.query[begin : begin + most]
        matches = identity[query][:, None] == identity[trial.gallery][None, :]
        matches &= ~excluded_pairs(index, trial.exclusion, query, trial.gallery).numpy()
        counted = matches.any(axis=1)
        if counted.any():
            # A match of each query, and other images of the gallery up to the number allowed.
            needed = np.unique(matches[counted].argmax(axis=1))
            others = np.setdiff1d(np.arange(len(trial.gallery)), needed)[: most - len(needed)]
            gallery = trial.gallery[np.sort(np.concatenate([needed, others]))]
            return replace(trial, query=query[counted], gallery=gallery)
    raise ValueError(f"evaluation: no query of {trial.fields} has a true match in its gallery")
