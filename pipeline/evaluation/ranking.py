"""The metrics of retrieval, for all data sets: CMC (rank-k), mAP and mINP.

A query's gallery is ranked by ascending distance; equal distances keep the gallery's order. Pairs that a protocol
excludes are taken out first; a query left without a true match isn't counted. CMC as SYSU-MM01 has it counts each
identity of the ranked list once, at its first image (`deduplicate`); AP and mINP (Ye et al., TPAMI 2021) are those of
the whole list.

The list itself is never made: a true match's rank is one more than the number of gallery images before it, which a
query's sorted distances tell, and an identity's place follows from its smallest distance. Sorting numbers is several
times faster than sorting images by them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from pipeline.evaluation.distances import DISTANCES, check_finite, check_metric, prepare_features

# (Q, G) bool, True for a pair left out; or a function from a slice of the queries to its rows; or None.
Excluded = np.ndarray | torch.Tensor | Callable[[slice], np.ndarray | torch.Tensor] | None

PAIRS = 2**25  # distances held at a time
TIED_PAIRS = 2**23  # distances looked through at a time for equal ones

T = TypeVar("T")


@dataclass(frozen=True)
class Scores:
    """Metrics of one trial, all in [0, 1]; arrays by query are float64 and NaN where a query isn't counted.

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


@dataclass(frozen=True)
class Gallery:
    """A gallery's images with those of an identity side by side; all int64.

    order  (G,) place in the gallery of each image so sorted; those of an identity keep the gallery's order
    owner  (G,) number of its identity, from 0
    people (P,) the identities, ascending
    start  (P,) where each identity's images begin, and `count` (P,) how many they are
    """

    order: torch.Tensor
    owner: torch.Tensor
    people: torch.Tensor
    start: torch.Tensor
    count: torch.Tensor

    @classmethod
    def of(cls, identities: np.ndarray | torch.Tensor, device: torch.device) -> Gallery:
        """Sorts (G,) whole-number identities, in the gallery's order."""
        identities = to_tensor(identities).to(device)
        people, owner, count = torch.unique(identities, return_inverse=True, return_counts=True)
        order = owner.argsort(stable=True)
        return cls(order, owner[order], people, count.cumsum(0) - count, count)


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
    block: int | None = None,
    max_rank: int = 20,
) -> Scores:
    """Scores (Q, D) query against (G, D) gallery features, with (Q,) and (G,) whole-number identities.

    Runs where the features are, `block` queries at a time (None: as many as make `PAIRS` distances), in float64 for
    float64 features and in float32 otherwise. `metric` is a name in `DISTANCES`. Raises ValueError for features that
    aren't finite, shapes that don't fit, an unknown metric, and where no query has a true match.
    """
    check_metric(metric)
    if query_features.ndim != 2 or gallery_features.ndim != 2 or query_features.shape[1] != gallery_features.shape[1]:
        shapes = f"{tuple(query_features.shape)} and {tuple(gallery_features.shape)}"
        raise ValueError(f"features: expected (queries, D) and (gallery, D); found {shapes}")
    query = prepare_features(query_features, "query")
    gallery = prepare_features(gallery_features, "gallery").to(query.device)
    precision = torch.promote_types(query.dtype, gallery.dtype)
    query, distances_of = query.to(precision), DISTANCES[metric](gallery.to(precision))
    people = (query_identities, gallery_identities)
    return score(lambda rows: distances_of(query[rows]), len(query), *people, excluded, deduplicate, block, max_rank)


@torch.inference_mode()
def rank_distances(
    distances: torch.Tensor,
    query_identities: np.ndarray | torch.Tensor,
    gallery_identities: np.ndarray | torch.Tensor,
    excluded: Excluded = None,
    *,
    deduplicate: bool = True,
    block: int | None = None,
    max_rank: int = 20,
) -> Scores:
    """Scores a (Q, G) matrix of finite distances, e.g. re-ranked ones, as `rank` does."""
    people = (query_identities, gallery_identities)
    return score(lambda rows: distances[rows], len(distances), *people, excluded, deduplicate, block, max_rank)


def to_tensor(values: np.ndarray | torch.Tensor) -> torch.Tensor:
    # A copy: torch warns about sharing read-only arrays, such as the columns of a DataFrame.
    return values if isinstance(values, torch.Tensor) else torch.from_numpy(np.array(values))


def score(
    distances_of: Callable[[slice], torch.Tensor],
    queries: int,
    query_identities: np.ndarray | torch.Tensor,
    gallery_identities: np.ndarray | torch.Tensor,
    excluded: Excluded,
    deduplicate: bool,
    block: int | None,
    max_rank: int,
) -> Scores:
    """Scores a gallery; `distances_of` gives the distances of a slice of the queries to it."""
    query_identities, images, gallery = to_tensor(query_identities), len(gallery_identities), None
    if len(query_identities) != queries:
        raise ValueError(f"distances: expected those of {len(query_identities)} queries; found {queries}")
    metrics = []
    for rows in blocks(queries, images, block):
        distances = distances_of(rows)
        if distances.shape != (rows.stop - rows.start, images):
            expected = f"{len(query_identities)} queries and {images} gallery images"
            raise ValueError(f"distances: expected {expected}, as there are identities; found {tuple(distances.shape)}")
        gallery = gallery or Gallery.of(gallery_identities, distances.device)
        distances = leave_out(distances, excluded_rows(excluded, rows, tuple(distances.shape)))
        distances = distances.index_select(1, gallery.order)
        metrics.append(score_block(distances, query_identities[rows].to(distances.device), gallery))
    return summarize(torch.cat(metrics, dim=1).cpu().numpy() if metrics else np.empty((4, 0)), deduplicate, max_rank)


def blocks(queries: int, images: int, block: int | None = None) -> Iterator[slice]:
    """Yields slices of the queries, `block` at a time or as many as make `PAIRS` distances."""
    block = block or max(1, PAIRS // max(images, 1))
    return (slice(start, min(start + block, queries)) for start in range(0, queries, block))


def excluded_rows(excluded: Excluded, rows: slice, shape: tuple[int, int]) -> torch.Tensor | None:
    """Returns the rows of `excluded` for a block of queries, as a bool tensor of `shape`."""
    if excluded is None:
        return None
    found = to_tensor(excluded(rows) if callable(excluded) else excluded[rows])
    if found.dtype != torch.bool or tuple(found.shape) != shape:
        raise ValueError(f"excluded pairs: expected bool {shape}; found {found.dtype} {tuple(found.shape)}")
    return found


def leave_out(distances: torch.Tensor, excluded: torch.Tensor | None) -> torch.Tensor:
    """Returns (Q, G) distances, infinite for pairs left out: behind every true match, they change no rank."""
    excluded = None if excluded is None else excluded.to(distances.device)
    check_finite(distances, excluded)
    return distances if excluded is None else distances.masked_fill(excluded, float("inf"))


def score_block(distances: torch.Tensor, wanted: torch.Tensor, gallery: Gallery) -> torch.Tensor:
    """Returns (4, B) float64: average precision, first rank, first rank by identity, inverse negative penalty.

    All are NaN for a query without a true match. distances (B, G) are in the order of `gallery` and infinite for pairs
    left out; wanted (B,) are the queries' identities.
    """
    if not distances.numel():
        return distances.new_full((4, len(distances)), float("nan"), dtype=torch.float64)
    person = torch.searchsorted(gallery.people, wanted).clamp_max(len(gallery.people) - 1)
    images = torch.where(gallery.people[person] == wanted, gallery.count[person], 0)
    # (B, K) columns of the wanted identity's images, which lie side by side; K is the largest number of them, and the
    # rest of a row is no match, as are pairs left out
    place = torch.arange(max(1, int(images.max())), device=distances.device)
    columns = (gallery.start[person, None] + place).clamp_max(distances.shape[1] - 1)
    match = (place < images[:, None]) & (distances.gather(1, columns) < float("inf"))
    matches = count_rows(match)
    # the true matches' ranks, ascending; behind them a rank that no image has
    ranks = ranks_of(distances, columns, match, gallery)
    ranks = sort_rows(ranks.masked_fill(~match, distances.shape[1] + 1))
    precision = ((place + 1) / ranks.double()).masked_fill(place >= matches[:, None], 0)
    last = ranks.gather(1, (matches - 1).clamp_min(0)[:, None])[:, 0]
    first_by_identity = identity_ranks(distances, person, gallery)
    metrics = [precision.sum(dim=1) / matches, ranks[:, 0], first_by_identity, matches / last.double()]
    return torch.stack([metric.double() for metric in metrics]).masked_fill(matches == 0, float("nan"))


def ranks_of(distances: torch.Tensor, columns: torch.Tensor, wanted: torch.Tensor, gallery: Gallery) -> torch.Tensor:
    """Returns (B, K) int64 ranks, from 1, of the images in the `columns` (B, K) of each query.

    Where `wanted` (B, K) is False, the rank may be any.
    """
    # An image's rank is one more than the number of nearer images: its place in the sorted row of distances.
    values = distances.gather(1, columns)
    ordered = sort_rows(distances)
    nearer = torch.searchsorted(ordered, values)
    # The next one in the sorted row tells whether another image is as far; only then the gallery's order matters.
    following = ordered.gather(1, (nearer + 1).clamp_max(distances.shape[1] - 1))
    tied = wanted & (following == values) & (nearer + 1 < distances.shape[1])
    # Of the images as far as a tied one, those before it in the gallery are ahead of it, too. Each tied image needs a
    # whole row of the gallery, so a limited number of them is looked at at a time.
    order = gallery.order.int()  # half the memory to read
    for part in tied.nonzero().split(max(1, TIED_PAIRS // distances.shape[1])):
        rows, slots = part.T
        equal = distances[rows] == values[rows, slots, None]
        nearer[rows, slots] += count_rows(equal & (order < order[columns[rows, slots], None]))
    return nearer + 1


def identity_ranks(distances: torch.Tensor, person: torch.Tensor, gallery: Gallery) -> torch.Tensor:
    """Returns (B,) int64 rank, from 1, of each query's `person` among the identities, each at its first image."""
    best = smallest_by_identity(distances, gallery)
    own = best.gather(1, person[:, None])
    ahead = count_rows(best < own)
    tied = (count_rows(best == own) > 1).nonzero()[:, 0]
    if len(tied):
        # Identities as near as the wanted one are ahead where their first such image comes before its in the gallery.
        own, far = own[tied], distances.shape[1]
        first = smallest_by_identity(
            gallery.order.expand(len(tied), -1).masked_fill(distances[tied] != own, far), gallery
        )
        ahead[tied] += count_rows((best[tied] == own) & (first < first.gather(1, person[tied, None])))
    return ahead + 1


def count_rows(flags: torch.Tensor) -> torch.Tensor:
    """Returns (B,) int64 number of true values in each row. On the CPU, 32 bits are summed many times faster."""
    return flags.sum(dim=1, dtype=torch.int32).long()


def smallest_by_identity(values: torch.Tensor, gallery: Gallery) -> torch.Tensor:
    """Returns (B, P) the smallest of (B, G) values over each identity's images."""
    if values.device.type == "cpu":
        start = gallery.start.numpy()
        parts = in_threads(lambda rows: np.minimum.reduceat(rows, start, axis=1), values)
        return torch.from_numpy(np.concatenate(parts))
    smallest = values.new_empty((len(values), len(gallery.people)))
    owner = gallery.owner.expand(len(values), -1)
    return smallest.scatter_reduce_(1, owner, values, "amin", include_self=False)


def sort_rows(values: torch.Tensor) -> torch.Tensor:
    """Returns (B, N) values, each row in ascending order."""
    if values.device.type != "cpu":
        return values.sort(dim=1).values
    ordered = values.clone()
    in_threads(lambda rows: rows.sort(axis=1), ordered)
    return ordered


def in_threads(function: Callable[[np.ndarray], T], values: torch.Tensor) -> list[T]:
    """Returns the function's results for shares of a CPU tensor's rows; NumPy's loops are faster there."""
    shares = np.array_split(values.numpy(), min(torch.get_num_threads(), len(values)))
    with ThreadPoolExecutor(len(shares)) as pool:
        return list(pool.map(function, shares))


def summarize(metrics: np.ndarray, deduplicate: bool, max_rank: int) -> Scores:
    """Summarizes the (4, Q) values of `score_block`; ValueError where no query has a true match."""
    average_precision, first, first_by_identity, inverse_negative_penalty = metrics
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
