"""From features to rows of results: what every trial is judged by, and what a row says of it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from accelerate.utils import gather_object

from pipeline import protocols
from pipeline.config import config_hash
from pipeline.datasets.pack import relative_paths
from pipeline.evaluation.queries import evaluation_of, query_figures
from pipeline.evaluation.rerank import k_reciprocal_distances
from pipeline.evaluation.results import METRICS, RECORDED
from pipeline.evaluation.scoring import ReRanking, score_trials
from pipeline.models.reid import ReIDNetwork
from pipeline.run.checkpoint import save_weights, weights_facts
from pipeline.run.folder import code_version
from pipeline.run.provenance import UNTRAINED, TrainingFacts, describe_precision, older_facts
from pipeline.settings import EvaluationSettings, Settings

# The columns of a row that say where features come from; features of a file bring their own, or nobody knows.
ORIGIN_COLUMNS = ("extractor", "feature", "flip", "fusion", "precision", "selection", "epoch", "replaced_images")
ORIGIN_COLUMNS += ("seed", "config", "recipe", *UNTRAINED.columns())


@dataclass(frozen=True)
class Tested:
    """The network that is judged: hash of the configuration it was trained with, epochs trained, how many images were
    drawn in the place of others that could not be decoded, its recipe (None: that of the settings it is judged by), and
    what its training really used.
    """

    config: str
    epoch: int = 0
    replaced_images: int = 0
    recipe: str | None = None
    training: TrainingFacts = UNTRAINED

    def save(self, network: ReIDNetwork, path: Path) -> None:
        """The network's weights, with what is known of it."""
        known = {"config": self.config, "epoch": str(self.epoch), "replaced_images": str(self.replaced_images)}
        save_weights(network, path, known | {"training": self.training.to_json()})

    @classmethod
    def load(cls, path: Path, kept: Settings) -> Tested:
        """Of a run's weights, trained with the settings `kept`. ValueError where `save` hasn't written the header."""
        known = weights_facts(path)
        try:
            training = TrainingFacts.from_json(known["training"]) if "training" in known else None
            config, epoch, replaced = known["config"], int(known["epoch"]), int(known["replaced_images"])
        except (KeyError, ValueError) as error:
            raise ValueError(f"{path}: not the weights of a trained network: {error}") from None
        return cls(config, epoch, replaced, recipe_hash(kept), training or older_facts(path.parent, kept))


class Judged(NamedTuple):
    """`rows` of results, one a trial, in per cent; `queries`: by their `evaluation`, the figures of every query."""

    rows: pd.DataFrame
    queries: dict[str, pd.DataFrame]


def recipe_hash(settings: Settings) -> str:
    """Of the configuration without the seed and RegDB's split: trainings that agree in it are averaged."""
    return config_hash(replace(settings, seed=0, data=replace(settings.data, trial=1)))


def tested_rows(trials: list[protocols.Trial]) -> np.ndarray:
    """(n,) int64: the rows of the index that the trials use, each once however many use it."""
    return np.unique(np.concatenate([part for trial in trials for part in (trial.query, trial.gallery)]))


def judge(
    trials: list[protocols.Trial],
    index: pd.DataFrame,
    features: torch.Tensor,
    settings: Settings,
    described: dict,
    share: tuple[int, int] = (0, 1),
) -> Judged:
    """What features (len(index), D) are worth; `described` opens every row.

    share: this rank and the number of ranks, all of which call this: each judges some of the trials and gets all.
    """
    evaluation = settings.evaluation
    rank_of = {name: int(name.removeprefix("rank_")) for name in METRICS if name.startswith("rank_")}
    options = {
        "metric": evaluation.metric,
        "re_ranking": choose_re_ranking(evaluation),
        "max_rank": max(rank_of.values()),
    }
    agreed = {name: value for name, value in described.items() if name not in RECORDED}
    rank, ranks = share
    mine = np.array_split(np.arange(len(trials)), ranks)[rank].tolist()
    paths, identity = np.array(relative_paths(index, settings.data.root), dtype=object), index["identity"].to_numpy()
    judged = []
    for number, scores in zip(mine, score_trials(features, index, trials, numbers=mine, **options), strict=True):
        trial = trials[number]
        cmc = {name: 100 * float(scores.cmc[k - 1]) for name, k in rank_of.items()}
        counts = {"queries": scores.counted_queries, "gallery": len(trial.gallery)}
        said = described | trial.fields | {"evaluation": evaluation_of(agreed, trial)}
        row = said | counts | cmc | {"mAP": 100 * scores.mAP, "mINP": 100 * scores.mINP}
        judged.append((row, query_figures(trial, scores, paths, identity)))
    return collect(gather_object(judged) if ranks > 1 else judged)


def collect(judged: list[tuple[dict, pd.DataFrame]]) -> Judged:
    """Of each trial its row and the figures of its queries."""
    queries: dict[str, list[pd.DataFrame]] = {}
    for row, figures in judged:
        queries.setdefault(row["evaluation"], []).append(figures)
    rows = pd.DataFrame([row for row, _ in judged])
    return Judged(rows, {name: pd.concat(figures) for name, figures in queries.items()})


def choose_re_ranking(evaluation: EvaluationSettings) -> ReRanking | None:
    if evaluation.re_ranking == "none":
        return None
    return partial(
        k_reciprocal_distances,
        k1=evaluation.re_ranking_k1,
        k2=evaluation.re_ranking_k2,
        weight=evaluation.re_ranking_weight,
    )


def describe_run(settings: Settings, tested: Tested, index: pd.DataFrame, precision: str) -> dict:
    """The columns of a results row that say what was judged, and how."""
    evaluation = settings.evaluation
    network = evaluation.extractor == "network"
    return {
        "run": settings.name,
        "dataset": settings.data.dataset,
        "split": settings.data.test_split,
        "test_set": digest_test_set(index, settings),
        "extractor": evaluation.extractor,
        "feature": evaluation.feature if network else "pixels",
        "metric": evaluation.metric,
        "flip": evaluation.flip and network,
        "fusion": evaluation.fusion,
        "re_ranking": describe_re_ranking(evaluation),
        "precision": describe_precision(precision if network else "fp32", settings.loader.image_type),
        "selection": "last",
        "epoch": tested.epoch if network else 0,
        "replaced_images": tested.replaced_images if network else 0,
        "seed": settings.seed,
        "config": tested.config,
        "recipe": tested.recipe or recipe_hash(settings),
        **tested.training.columns(),
        "code_version": code_version(),
    }


def describe_re_ranking(evaluation: EvaluationSettings) -> str:
    """`none`, or `k_reciprocal(20,6,0.3)` with k1, k2 and the weight of the original distance."""
    if evaluation.re_ranking == "none":
        return "none"
    values = (evaluation.re_ranking_k1, evaluation.re_ranking_k2, evaluation.re_ranking_weight)
    return f"{evaluation.re_ranking}({','.join(map(str, values))})"


def digest_test_set(index: pd.DataFrame, settings: Settings) -> str:
    """Eight hex digits of the images tested, the same for a folder and its packs: figures of others don't compare."""
    rows = index["split"].to_numpy() == settings.data.test_split
    paths = np.array(relative_paths(index, settings.data.root), dtype=object)[rows]
    columns = [index[name].to_numpy()[rows] for name in ("identity", "camera", "modality")]
    lines = (f"{path}\t{fields}" for path, *fields in zip(paths, *columns, strict=True))
    return f"{zlib.crc32(chr(10).join(lines).encode()):08x}"
