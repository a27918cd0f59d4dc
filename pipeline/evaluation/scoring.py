"""Scores many trials at once: the work that trials share is done once.

The galleries of SYSU-MM01's forty trials are sampled from the same images and searched by the same queries. So each
block of queries is compared with all these images in one matrix product, and a trial selects its columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch

from pipeline.evaluation.distances import DISTANCES, check_metric, prepare_features
from pipeline.evaluation.ranking import Gallery, Scores, blocks, leave_out, rank_distances, score_block, summarize
from pipeline.protocols import Exclusion, Trial

# (Q, D) and (G, D) features, metric="..." -> (Q, G) distances: `rerank.k_reciprocal_distances`, or a partial of it.
ReRanking = Callable[..., torch.Tensor]


@torch.inference_mode()
def score_trials(
    features: torch.Tensor,
    index: pd.DataFrame,
    trials: Sequence[Trial],
    *,
    metric: str = "cosine",
    re_ranking: ReRanking | None = None,
    block: int | None = None,
    max_rank: int = 20,
    numbers: Sequence[int] | None = None,
) -> list[Scores]:
    """Scores each trial, in order, with features (len(index), D) by row of the index; other rows aren't read.

    `numbers` chooses some of the trials. Their scores are to the bit those they have among all: the same images are
    compared in the same matrix products.

    Runs where the features are, `block` queries at a time (None: as many as make `ranking.PAIRS` distances), in float64
    for float64 features and in float32 otherwise. `re_ranking` gives the distances of a trial instead of `metric`, a
    name in `ranking.DISTANCES`; it knows nothing of pairs left out. Raises ValueError for features that aren't finite,
    shapes that don't fit, an unknown metric, and a trial without a query that has a true match.
    """
    check_metric(metric)
    if features.ndim != 2 or len(features) != len(index):
        raise ValueError(f"features: expected ({len(index)}, D), a row an image; found {tuple(features.shape)}")
    chosen = range(len(trials)) if numbers is None else numbers
    if re_ranking is not None:
        return [score_re_ranked(features, index, trials[n], metric, re_ranking, block, max_rank) for n in chosen]
    scores: dict[int, Scores] = {}
    for group in alike(trials, index):
        wanted = [place for place, number in enumerate(group) if number in chosen]
        metrics = score_alike(features, index, [trials[number] for number in group], metric, block, wanted)
        for place, of_trial in zip(wanted, metrics, strict=True):
            trial = trials[group[place]]
            scores[group[place]] = summarize(of_trial, trial.deduplicate, max_rank)
    return [scores[number] for number in chosen]


def score_re_ranked(
    features: torch.Tensor,
    index: pd.DataFrame,
    trial: Trial,
    metric: str,
    re_ranking: ReRanking,
    block: int | None,
    max_rank: int,
) -> Scores:
    query, gallery = (features[to_rows(rows, features)] for rows in (trial.query, trial.gallery))
    distances = re_ranking(query, gallery, metric=metric)
    identity = index["identity"].to_numpy()
    return rank_distances(
        distances,
        identity[trial.query],
        identity[trial.gallery],
        lambda rows: excluded_pairs(index, trial.exclusion, trial.query[rows], trial.gallery),
        deduplicate=trial.deduplicate,
        block=block,
        max_rank=max_rank,
    )


def alike(trials: Sequence[Trial], index: pd.DataFrame) -> list[list[int]]:
    """Returns groups of trials, by number, that leave out the same pairs and search the same modalities."""
    modality = index["modality"].to_numpy()
    groups: dict[tuple, list[int]] = {}
    for number, trial in enumerate(trials):
        sides = (tuple(np.unique(modality[rows])) for rows in (trial.query, trial.gallery))
        groups.setdefault((trial.exclusion, *sides), []).append(number)
    return list(groups.values())


def score_alike(
    features: torch.Tensor,
    index: pd.DataFrame,
    trials: list[Trial],
    metric: str,
    block: int | None,
    wanted: Sequence[int],
) -> list[np.ndarray]:
    """Returns (4, Q) values as `score_block` does, of each trial whose place is in `wanted`."""
    if not wanted:
        return []
    query = np.unique(np.concatenate([trial.query for trial in trials]))
    images = np.unique(np.concatenate([trial.gallery for trial in trials]))
    identity, device = index["identity"].to_numpy(), features.device
    distances_of = DISTANCES[metric](prepare_features(features[to_rows(images, features)], "gallery"))
    trials = [trials[place] for place in wanted]
    galleries = [Gallery.of(identity[trial.gallery], device) for trial in trials]
    columns = [
        to_rows(np.searchsorted(images, trial.gallery), features)[gallery.order]
        for trial, gallery in zip(trials, galleries, strict=True)
    ]
    places = [np.searchsorted(query, trial.query) for trial in trials]
    metrics = [np.empty((4, len(trial.query))) for trial in trials]
    for rows in blocks(len(query), len(images), block):
        distances = distances_of(prepare_features(features[to_rows(query[rows], features)], "query"))
        distances = leave_out(distances, excluded_pairs(index, trials[0].exclusion, query[rows], images))
        for number, trial in enumerate(trials):
            mine = np.flatnonzero((places[number] >= rows.start) & (places[number] < rows.stop))
            chosen = select(distances, places[number][mine] - rows.start, columns[number])
            people = to_rows(identity[trial.query[mine]], features)
            metrics[number][:, mine] = score_block(chosen, people, galleries[number]).cpu().numpy()
    return metrics


def select(distances: torch.Tensor, rows: np.ndarray, columns: torch.Tensor) -> torch.Tensor:
    """Returns the columns of the rows; where these are all, in order, no copy of them is made first."""
    if not np.array_equal(rows, np.arange(len(distances))):
        distances = distances[to_rows(rows, distances)]
    return distances.index_select(1, columns)


def excluded_pairs(index: pd.DataFrame, exclusion: Exclusion, query: np.ndarray, gallery: np.ndarray) -> torch.Tensor:
    """Returns (Q, G) bool, True for pairs of rows of the index that `exclusion` leaves out."""
    # Narrow numbers: the comparison of every query with every image is limited by the memory it reads and writes.
    facts = [index[name].to_numpy().astype(np.int32) for name in ("identity", "camera")]
    return torch.from_numpy(exclusion(*(fact[rows] for rows in (query, gallery) for fact in facts)))


def to_rows(rows: np.ndarray, features: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(rows).to(features.device)
