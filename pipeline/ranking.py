"""The metrics of retrieval, for all data sets: CMC (rank-k), mAP and mINP.

A query's gallery is ranked by ascending distance; equal distances keep the gallery's order. Pairs that a protocol
excludes are taken out first; a query left without a true match isn't counted. CMC as SYSU-MM01 has it counts each
identity of the ranked list once, at its first image (`deduplicate`); AP and mINP (Ye et al., TPAMI 2021) are those of
the whole list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch

# (Q, G) bool, True for a pair left out; or a function from a slice of the queries to its rows; or None.
Excluded = np.ndarray | torch.Tensor | Callable[[slice], np.ndarray | torch.Tensor] | None


@dataclass(frozen=True)
class Scores:
    """Figures of one trial, all in [0, 1]; arrays by query are float64 and NaN where a query isn't counted.

    cmc                      (max_rank,) float64: share of the counted queries with a true match among the first k
    mAP, mINP                means over the counted queries
    counted_queries          number of queries with a true match in the gallery
    average_precision        (Q,) mean over the true matches of k / rank of the k-th
    first_match_rank         (Q,) rank of the first true match, from 1, in the list that the CMC is of
    inverse_negative_penalty (Q,) number of true matches / rank of the last
    """

    cmc: np.ndarray
    mAP: float
    mINP: float
    counted_queries: int
    average_precision: np.ndarray
    first_match_rank: np.ndarray
    inverse_negative_penalty: np.ndarray


@torch.inference_mode()
def rank(
    query_features: torch.Tensor,
    gallery_features: torch.Tensor,
    query_identities: np.ndarray | torch.Tensor,
    gallery_identities: np.ndarray | torch.Tensor,
    excluded: Excluded = None,
    *,
    metric: str = "cosine",
    deduplicate: bool = True,
    block: int = 512,
    max_rank: int = 20,
) -> Scores:
    """Scores of (Q, D) query features against (G, D) gallery features, with (Q,) and (G,) whole-number identities.

    Runs where the features are, `block` queries at a time, in float64 for float64 features and in float32 otherwise.
    `metric` is a name in `DISTANCES`. ValueError for features that aren't finite, shapes that don't fit, an unknown
    metric, and where no query has a true match.
    """
    if metric not in DISTANCES:
        raise ValueError(f"evaluation.metric: expected one of {', '.join(DISTANCES)}; found {metric!r}")
    if query_features.ndim != 2 or gallery_features.ndim != 2 or query_features.shape[1] != gallery_features.shape[1]:
        shapes = f"{tuple(query_features.shape)} and {tuple(gallery_features.shape)}"
        raise ValueError(f"features: expected (queries, D) and (gallery, D); found {shapes}")
    query = prepare_features(query_features, "query")
    gallery = prepare_features(gallery_features, "gallery").to(query.device)
    precision = torch.promote_types(query.dtype, gallery.dtype)
    query, gallery = query.to(precision), gallery.to(precision)

    def distances() -> Iterable[torch.Tensor]:
        for start in range(0, len(query), block):
            # Autocast would multiply in half precision, in which near distances become equal.
            with torch.autocast(query.device.type, enabled=False):
                yield DISTANCES[metric](query[start : start + block], gallery)

    return score(distances(), query_identities, gallery_identities, excluded, deduplicate, max_rank)


@torch.inference_mode()
def rank_distances(
    distances: torch.Tensor,
    query_identities: np.ndarray | torch.Tensor,
    gallery_identities: np.ndarray | torch.Tensor,
    excluded: Excluded = None,
    *,
    deduplicate: bool = True,
    block: int = 512,
    max_rank: int = 20,
) -> Scores:
    """As `rank`, of a (Q, G) matrix of finite distances, e.g. re-ranked ones."""
    blocks = (distances[start : start + block] for start in range(0, len(distances), block))
    return score(blocks, query_identities, gallery_identities, excluded, deduplicate, max_rank)


def prepare_features(features: torch.Tensor, name: str) -> torch.Tensor:
    """Features in float32, or float64 where they are; ValueError with the number of rows that aren't finite."""
    features = features if features.dtype == torch.float64 else features.float()
    broken = int((~torch.isfinite(features).all(dim=1)).sum())
    if broken:
        raise ValueError(f"{name} features: {broken} of {len(features)} rows hold values that aren't finite")
    return features


def cosine_distances(query: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
    """(Q, G) 1 - cosine of the angle, in [0, 2]; 1 to a feature of zeros."""
    return 1 - to_unit_length(query) @ to_unit_length(gallery).T


def to_unit_length(features: torch.Tensor) -> torch.Tensor:
    """Features divided by their length. One whose length overflows becomes NaN, which `score` refuses."""
    length = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    return features / length.clamp_min(1e-12).masked_fill(length.isinf(), float("nan"))


def squared_euclidean_distances(query: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
    """(Q, G) squared distances, which rank as the distances do."""
    return query.square().sum(dim=1, keepdim=True) + gallery.square().sum(dim=1) - 2 * (query @ gallery.T)


DISTANCES = {"cosine": cosine_distances, "euclidean": squared_euclidean_distances}


def score(
    blocks: Iterable[torch.Tensor],
    query_identities: np.ndarray | torch.Tensor,
    gallery_identities: np.ndarray | torch.Tensor,
    excluded: Excluded,
    deduplicate: bool,
    max_rank: int,
) -> Scores:
    """Scores of the distances of successive blocks of queries."""
    query_identities, gallery_identities = to_tensor(query_identities), to_tensor(gallery_identities)
    people, owner = torch.unique(gallery_identities, return_inverse=True)
    figures, start = [], 0
    for distances in blocks:
        rows, device = slice(start, start + len(distances)), distances.device
        wanted = query_identities[rows].to(device)
        if distances.shape != (len(wanted), len(owner)):
            expected = f"{len(query_identities)} queries and {len(owner)} gallery images"
            raise ValueError(f"distances: expected {expected}, as there are identities; found {tuple(distances.shape)}")
        valid = ~excluded_rows(excluded, rows, tuple(distances.shape)).to(device)
        if not (torch.isfinite(distances) | ~valid).all():
            raise ValueError("distances: some aren't finite; the features are too large for their precision")
        figures.append(score_block(distances, valid, people.to(device)[None] == wanted[:, None], owner.to(device)))
        start = rows.stop
    if start != len(query_identities):
        raise ValueError(f"distances: expected those of {len(query_identities)} queries; found {start}")
    return summarise(torch.cat(figures, dim=1).cpu().numpy() if figures else np.empty((4, 0)), deduplicate, max_rank)


def to_tensor(values: np.ndarray | torch.Tensor) -> torch.Tensor:
    # A copy: torch warns about sharing read-only arrays, such as the columns of a DataFrame.
    return values if isinstance(values, torch.Tensor) else torch.from_numpy(np.array(values))


def excluded_rows(excluded: Excluded, rows: slice, shape: tuple[int, int]) -> torch.Tensor:
    """The rows of `excluded` for a block of queries, as a bool tensor of `shape`."""
    if excluded is None:
        return torch.zeros(shape, dtype=torch.bool)
    found = to_tensor(excluded(rows) if callable(excluded) else excluded[rows])
    if found.dtype != torch.bool or tuple(found.shape) != shape:
        raise ValueError(f"excluded pairs: expected bool {shape}; found {found.dtype} {tuple(found.shape)}")
    return found


def score_block(
    distances: torch.Tensor, valid: torch.Tensor, is_wanted: torch.Tensor, owner: torch.Tensor
) -> torch.Tensor:
    """(4, B) float64: average precision, first rank, first rank by identity, inverse negative penalty; NaN: no match.

    `valid` (B, G) says which pairs count, `owner` (G,) to which of the P people an image belongs, `is_wanted` (B, P)
    who is searched for.
    """
    count, images = distances.shape
    order = distances.masked_fill(~valid, float("inf")).argsort(dim=1, stable=True)
    places = torch.arange(1, images + 1, device=distances.device)
    sorted_owner = owner[order]
    # Excluded images are the last, behind every true match, and so change no rank.
    match = is_wanted.gather(1, sorted_owner) & valid.gather(1, order)
    matches = match.sum(dim=1).double()
    precision = match.cumsum(dim=1).double() / places
    average_precision = (precision * match).sum(dim=1) / matches
    last = (match * places).amax(dim=1).double()
    first = torch.where(match, places, images + 1).amin(dim=1)
    # Each person's best place; a person stands before the wanted one, or is the wanted one, up to `first`.
    best = torch.full(is_wanted.shape, images + 1, device=distances.device, dtype=places.dtype)
    best = best.scatter_reduce(1, sorted_owner, places.expand(count, -1), "amin")
    first_by_identity = (best <= first[:, None]).sum(dim=1)
    figures = torch.stack([average_precision, first.double(), first_by_identity.double(), matches / last])
    return figures.masked_fill(matches == 0, float("nan"))


def summarise(figures: np.ndarray, deduplicate: bool, max_rank: int) -> Scores:
    average_precision, first, first_by_identity, inverse_negative_penalty = figures
    first_match_rank = first_by_identity if deduplicate else first
    counted = ~np.isnan(average_precision)
    if not counted.any():
        raise ValueError(f"none of the {len(counted)} queries has a true match in the gallery; nothing can be measured")
    ranks = np.arange(1, max_rank + 1)
    return Scores(
        cmc=(first_match_rank[counted, None] <= ranks).mean(axis=0),
        mAP=float(average_precision[counted].mean()),
        mINP=float(inverse_negative_penalty[counted].mean()),
        counted_queries=int(counted.sum()),
        average_precision=average_precision,
        first_match_rank=first_match_rank,
        inverse_negative_penalty=inverse_negative_penalty,
    )
