"""Re-ranking by k-reciprocal encoding (Zhong, Zheng, Cao, Li: "Re-ranking Person Re-identification with k-reciprocal
Encoding", CVPR 2017): images are near whose nearest neighbours are the same.

Queries and gallery together are the images among which neighbours are looked for; an image is its own first neighbour.
The details are those of the authors' program, by which metrics are published; it departs from the paper's text in that
neighbours are queries as well, distances are divided by each image's largest, weights sum to one, and a neighbour's own
neighbours join where more than (not: at least) two thirds of them are shared.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pipeline.evaluation.distances import DISTANCES, check_finite, check_metric, prepare_pair
from pipeline.evaluation.ranking import PAIRS, blocks


@dataclass(frozen=True)
class Entries:
    """The entries of a sparse (N, N) matrix that aren't zero, by ascending row."""

    row: torch.Tensor  # (E,) int64
    column: torch.Tensor  # (E,) int64
    value: torch.Tensor  # (E,)


@torch.inference_mode()
def k_reciprocal_distances(
    query: torch.Tensor,
    gallery: torch.Tensor,
    *,
    k1: int = 20,
    k2: int = 6,
    weight: float = 0.3,
    metric: str = "cosine",
) -> torch.Tensor:
    """Returns (Q, G) distances from 0 to 1 of (Q, D) and (G, D) features: (1 - weight) Jaccard + weight original.

    `k1` neighbours must be mutual, encodings are averaged over `k2` neighbours, itself the first. The original distance
    is `metric` (a name in `ranking.DISTANCES`; euclidean is squared), divided by the largest to any image. Runs where
    the features are, in float64 for float64 features and in float32 otherwise; holds (Q + G)^2 distances. ValueError
    for features that aren't finite, shapes that don't fit, and parameters out of range.
    """
    check_parameters(k1, k2, weight, metric)
    features = torch.cat(prepare_pair(query, gallery))
    distances = scaled_distances(features, metric)
    near = distances.topk(min(max(k1 + 1, k2), len(features)), largest=False).indices
    entries = encode(distances.fill_diagonal_(0), near[:, : k1 + 1], near[:, : round(k1 / 2) + 1])
    if k2 > 1:
        entries = average_over(near[:, :k2], entries)
    original = distances[: len(query), len(query) :].clone()
    del distances
    return jaccard_distances(entries, len(query), len(gallery)).mul_(1 - weight).add_(original, alpha=weight)


def check_parameters(k1: int, k2: int, weight: float, metric: str) -> None:
    check_metric(metric)
    if metric == "dot":  # which has no 0 that distances could be a share of the largest from
        raise ValueError("evaluation.metric: expected cosine or euclidean for re_ranking=k_reciprocal; found dot")
    for name, value in (("k1", k1), ("k2", k2)):
        if value < 1:
            raise ValueError(f"evaluation.re_ranking_{name}: expected a number of at least 1; found {value}")
    if not 0 <= weight <= 1:
        raise ValueError(f"evaluation.re_ranking_weight: expected a number from 0 to 1; found {weight}")


def scaled_distances(features: torch.Tensor, metric: str) -> torch.Tensor:
    """Returns (N, N) distances, each row divided by its largest; below all others on the diagonal."""
    distances = DISTANCES[metric](features)(features)
    check_finite(distances, None)
    largest = distances.amax(dim=1, keepdim=True).clamp_min(torch.finfo(distances.dtype).tiny)
    return distances.div_(largest).fill_diagonal_(-1)


def encode(distances: torch.Tensor, near: torch.Tensor, nearest: torch.Tensor) -> Entries:
    """Encodes each image as weights exp(-distance), with the sum 1, of its reciprocal neighbours and of theirs.

    `near` (N, k1 + 1) and `nearest` (N, k1 / 2 + 1) int64 are the images' neighbours, themselves first.
    """
    mutual, most_mutual = reciprocal(near), reciprocal(nearest)
    pairs = []
    for rows in blocks(len(near), near.shape[1] ** 2 * nearest.shape[1]):
        own, own_mutual = near[rows], mutual[rows]
        theirs, theirs_mutual = nearest[own], most_mutual[own]
        # (B, k1 + 1, k1 / 2 + 1): which of the neighbours of a neighbour are reciprocal neighbours of the image itself
        shared = ((theirs[..., None] == own[:, None, None]) & own_mutual[:, None, None]).any(dim=-1) & theirs_mutual
        enough = 3 * shared.sum(dim=-1, dtype=torch.int32) > 2 * theirs_mutual.sum(dim=-1, dtype=torch.int32)
        joining = theirs_mutual & (enough & own_mutual)[..., None]
        row = torch.arange(rows.start, rows.stop, device=near.device)
        first = row[:, None].expand_as(own)[own_mutual] * len(near) + own[own_mutual]
        second = row[:, None, None].expand_as(theirs)[joining] * len(near) + theirs[joining]
        pairs.append(torch.cat([first, second]).unique())
    pair = torch.cat(pairs)
    row, column = pair // len(near), pair % len(near)
    value = torch.exp(-distances[row, column])
    return Entries(row, column, value / value.new_zeros(len(near)).index_add_(0, row, value)[row])


def reciprocal(near: torch.Tensor) -> torch.Tensor:
    """Returns (N, K) bool: whether an image is among the neighbours of its neighbour."""
    found = torch.empty_like(near, dtype=torch.bool)
    for rows in blocks(len(near), near.shape[1] ** 2):
        own = torch.arange(rows.start, rows.stop, device=near.device)
        found[rows] = (near[near[rows]] == own[:, None, None]).any(dim=-1)
    return found


def average_over(near: torch.Tensor, entries: Entries) -> Entries:
    """Replaces the encoding of each image by the mean over its (N, K) neighbours."""
    images, count = near.shape
    source, entry = walk(near.flatten(), torch.bincount(entries.row, minlength=images))
    pair, place = (source // count * images + entries.column[entry]).unique(return_inverse=True)
    value = entries.value.new_zeros(len(pair)).index_add_(0, place, entries.value[entry])
    return Entries(pair // images, pair % images, value / count)


def jaccard_distances(entries: Entries, queries: int, images: int) -> torch.Tensor:
    """Returns (Q, G) 1 - sum of minima / sum of maxima over the encodings; the first `queries` rows are the queries'.

    Only entries that a query and a gallery image share add to the minima; the sum of the maxima is 2 less that.
    """
    # Entries of the queries lie before `begin`; those of the gallery are sorted by column, one list for each neighbour.
    begin = int(torch.searchsorted(entries.row, queries))
    order = begin + entries.column[begin:].argsort(stable=True)
    count = torch.bincount(entries.column[begin:], minlength=queries + images)
    # Each entry of a query meets the gallery's list of its column; some queries at a time, for the memory.
    steps = count[entries.column[:begin]].cumsum(0)
    shared = entries.value.new_zeros(queries * images)
    limits = torch.arange(PAIRS // 8, int(steps[-1]) + PAIRS // 8, PAIRS // 8, device=steps.device)
    cuts = [0, *torch.searchsorted(steps, limits, right=True).tolist()]
    for start, stop in zip(cuts, cuts[1:], strict=False):
        source, place = walk(entries.column[start:stop], count)
        entry, source = order[place], source + start
        pair = entries.row[source] * images + entries.row[entry] - queries
        shared.index_add_(0, pair, torch.minimum(entries.value[source], entries.value[entry]))
    return (1 - shared / (2 - shared)).view(queries, images)


def walk(lists: torch.Tensor, count: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Walks through the lists numbered `lists` (M,), one after the other; a number may come several times.

    All L lists lie one behind the other in one array, `count` (L,) long. Returns (T,) int64 each, for every element on
    the way: which of `lists` it belongs to (0 .. M - 1), and its place in that array. `walk([2, 0], [2, 1, 3])`, whose
    lists have the places 0-1, 2 and 3-5, returns [0, 0, 0, 1, 1] and [3, 4, 5, 0, 1].
    """
    length, start = count[lists], count.cumsum(0) - count
    # as often as a list is long, its place in `lists`
    source = torch.repeat_interleave(length)
    # steps are numbered 0 .. T - 1; those in a list begin at `begin`, and should begin at `start` of the list
    begin = length.cumsum(0) - length
    return source, torch.arange(len(source), device=lists.device) - (begin - start[lists])[source]
