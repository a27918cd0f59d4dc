"""An extractor tested on the images of trials: as they were captured, or corrupted in one way after the other."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator

from pipeline import protocols
from pipeline.batch import Modality
from pipeline.distributed import precision_of
from pipeline.evaluation.corruption import KINDS, uncorrupted, with_corruption
from pipeline.evaluation.evaluator import EvaluationResult, evaluate_features, row_context
from pipeline.evaluation.features import Extractor, extract_features
from pipeline.evaluation.model_info import ModelInfo
from pipeline.settings import Settings

log = logging.getLogger("pipeline")


@dataclass(frozen=True)
class Tested:
    """What is tested on what. Its methods are called by all ranks, and return the same on each.

    model   what rows of results say of the extractor
    trials  of the data set's protocol, by row of the index
    rows    (n,) int64, ascending: the rows of the index that features are needed of, or more
    """

    extractor: Extractor
    model: ModelInfo
    index: pd.DataFrame
    trials: list[protocols.Trial]
    rows: np.ndarray
    accelerator: Accelerator

    def features(self, settings: Settings) -> torch.Tensor:
        """Returns (n, D) float32 of the rows, corrupted in the one way that the settings say, or not at all."""
        return extract_features(self.extractor, self.index, self.rows, settings, self.accelerator)

    def corrupted_features(self, features: torch.Tensor, settings: Settings) -> torch.Tensor:
        """Returns what `features` returns, where those of the images as they were captured are there already."""
        wanted = [int(Modality.from_name(name)) for name in settings.evaluation.corrupted]
        places = np.flatnonzero(self.index["modality"].iloc[self.rows].isin(wanted))
        own = extract_features(self.extractor, self.index, self.rows[places], settings, self.accelerator)
        return features.index_copy(0, torch.from_numpy(places).to(features.device), own)

    def context(self, settings: Settings) -> dict:
        """Returns the leading columns of every row of results."""
        return row_context(settings, self.model, self.index, precision_of(self.accelerator))

    def result(self, features: torch.Tensor, settings: Settings) -> EvaluationResult:
        """Returns the result of features (n, D) of the rows."""
        # Scoring knows the tested images only, so trials are given by the place among them.
        tested = self.index.iloc[self.rows].reset_index(drop=True)
        within = [own.within(self.rows) for own in self.trials]
        share = (self.accelerator.process_index, self.accelerator.num_processes)
        return evaluate_features(features, tested, within, settings, self.context(settings), share)


def result_of_corruptions(tested: Tested, features: torch.Tensor, settings: Settings) -> EvaluationResult:
    """Returns the result of the images as they were captured, of which the `features` are, and of every corruption.

    The rows of all stand one after the other, in the order of KINDS; the scores are those of the images as captured.
    """
    results = [tested.result(features, uncorrupted(settings))]
    for number, kind in enumerate(KINDS[1:], start=1):
        log.info(f"corruption {number} of {len(KINDS) - 1}: {kind}")
        corrupting = with_corruption(settings, kind)
        results.append(tested.result(tested.corrupted_features(features, corrupting), corrupting))
    rows = pd.concat([result.trial_results for result in results], ignore_index=True)
    queries = {name: table for result in results for name, table in result.query_metrics.items()}
    return EvaluationResult(rows, queries, results[0].scores)
