"""From features to results: the scores of every trial, its row of results.csv, and the metrics of every query."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from accelerate.utils import gather_object

from pipeline import protocols
from pipeline.datasets.pack import relative_paths
from pipeline.evaluation.corruption import describe_corruption
from pipeline.evaluation.model_info import ModelInfo, recipe_hash
from pipeline.evaluation.per_query import evaluation_id, query_metrics
from pipeline.evaluation.ranking import Scores
from pipeline.evaluation.re_ranking import choose_re_ranking, describe_re_ranking
from pipeline.evaluation.results import LABELS, METRICS, RECORDED
from pipeline.evaluation.scoring import score_trials
from pipeline.methods.method import method_of
from pipeline.run.folder import code_version
from pipeline.run.provenance import NONE, UNTRAINED, describe_precision
from pipeline.settings import EvaluationSettings, Settings

# The columns of a row that say where features come from; features of a file bring their own, or it is unknown.
ORIGIN_COLUMNS: tuple[str, ...] = (
    *LABELS,
    *("extractor", "feature", "similarity", "flip", "stems", "fusion", "projection", "corruption"),
    *("precision", "selection", "epoch", "replaced_images"),
    *("seed", "config", "recipe", *UNTRAINED.columns()),
)
REPORTED_RANKS = {name: int(name.removeprefix("rank_")) for name in METRICS if name.startswith("rank_")}


@dataclass(frozen=True)
class EvaluationResult:
    """The results of an evaluation.

    trial_results  the rows of results.csv, one a trial, in per cent
    query_metrics  by their `evaluation_id`, the metrics of every query
    scores         of every trial, in the order of the trials; their CMC ends with the largest of REPORTED_RANKS
    """

    trial_results: pd.DataFrame
    query_metrics: dict[str, pd.DataFrame]
    scores: list[Scores]


def tested_rows(trials: Sequence[protocols.Trial]) -> np.ndarray:
    """Returns (n,) int64: the rows of the index that the trials use, each once however many use it, ascending."""
    return np.unique(np.concatenate([part for trial in trials for part in (trial.query, trial.gallery)]))


def evaluate_features(
    features: torch.Tensor,
    index: pd.DataFrame,
    trials: Sequence[protocols.Trial],
    settings: Settings,
    context: dict,
    share: tuple[int, int] = (0, 1),
) -> EvaluationResult:
    """Evaluates features (len(index), D) in every trial; `context` holds the leading columns of every row of results.

    share: this rank and the number of ranks, all of which call this: each scores some of the trials and gets all.
    """
    scores = score_shared(features, index, trials, settings.evaluation, share)
    # An evaluation, over whose trials a mean is taken, is identified by all columns that have an effect.
    effective = {name: value for name, value in context.items() if name not in RECORDED}
    evaluations = [evaluation_id(effective, trial) for trial in trials]
    rows = [
        context | trial.fields | {"evaluation": evaluation} | trial_metrics(trial, of_trial)
        for trial, of_trial, evaluation in zip(trials, scores, evaluations, strict=True)
    ]
    # The metrics of every query, the trials of an evaluation in one table.
    paths, identity = np.array(relative_paths(index, settings.data.root), dtype=object), index["identity"].to_numpy()
    tables: dict[str, list[pd.DataFrame]] = {}
    for trial, of_trial, evaluation in zip(trials, scores, evaluations, strict=True):
        tables.setdefault(evaluation, []).append(query_metrics(trial, of_trial, paths, identity))
    joined = {evaluation: pd.concat(own) for evaluation, own in tables.items()}
    return EvaluationResult(pd.DataFrame(rows), joined, scores)


def score_shared(
    features: torch.Tensor,
    index: pd.DataFrame,
    trials: Sequence[protocols.Trial],
    evaluation: EvaluationSettings,
    share: tuple[int, int],
) -> list[Scores]:
    """Returns the scores of all trials on every rank, each of which computes those of its share."""
    rank, ranks = share
    own = np.array_split(np.arange(len(trials)), ranks)[rank].tolist()
    scores = score_trials(
        features,
        index,
        trials,
        metric=evaluation.metric,
        re_ranking=choose_re_ranking(evaluation),
        max_rank=max(REPORTED_RANKS.values()),
        numbers=own,
    )
    return gather_object(scores) if ranks > 1 else scores


def trial_metrics(trial: protocols.Trial, scores: Scores) -> dict[str, int | float]:
    """Returns the counts and the metrics, in per cent, of a row of results."""
    counts = {"queries": scores.counted_queries, "gallery": len(trial.gallery)}
    cmc = {name: 100 * float(scores.cmc[k - 1]) for name, k in REPORTED_RANKS.items()}
    return counts | cmc | {"mAP": 100 * scores.mAP, "mINP": 100 * scores.mINP}


def row_context(settings: Settings, model: ModelInfo, index: pd.DataFrame, precision: str) -> dict:
    """Returns the columns of a row of results that tell which network was evaluated, on which data, and how."""
    evaluation = settings.evaluation
    network = evaluation.extractor == "network"
    return {
        "run": settings.name,
        "method": method_of(settings).label(settings) if network else NONE,
        "method_source": (settings.method.source or "") if network else NONE,
        "dataset": settings.data.dataset,
        "split": settings.data.test_split,
        "test_set": digest_test_set(index, settings),
        "extractor": evaluation.extractor,
        "feature": evaluation.feature if network else "pixels",
        "similarity": evaluation.similarity if network else "whole",
        "metric": evaluation.metric,
        "flip": evaluation.flip and network,
        "fusion": evaluation.fusion,
        "projection": evaluation.projection,
        "stems": evaluation.stems if network else "own",
        "re_ranking": describe_re_ranking(evaluation),
        "corruption": describe_corruption(evaluation),
        "precision": describe_precision(precision if network else "fp32", settings.loader.image_type),
        "selection": model.selection if network else "last",
        "epoch": model.epoch if network else 0,
        "replaced_images": model.replaced_images if network else 0,
        "seed": settings.seed,
        "config": model.config,
        "recipe": model.recipe or recipe_hash(settings),
        **model.training.columns(),
        "code_version": code_version(),
    }


def digest_test_set(index: pd.DataFrame, settings: Settings) -> str:
    """Returns eight hex digits of the images tested, the same for a folder and its packs.

    Metrics of other images don't compare.
    """
    rows = index["split"].to_numpy() == settings.data.test_split
    paths = np.array(relative_paths(index, settings.data.root), dtype=object)[rows]
    columns = [index[name].to_numpy()[rows] for name in ("identity", "camera", "modality")]
    lines = (f"{path}\t{fields}" for path, *fields in zip(paths, *columns, strict=True))
    return f"{zlib.crc32(chr(10).join(lines).encode()):08x}"
