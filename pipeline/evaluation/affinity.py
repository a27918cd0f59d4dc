"""Re-ranking by the Affinity Inference Module (Fang, Yang, Fu: "Visible-Infrared Person Re-Identification via Semantic
Alignment and Affinity Inference", ICCV 2023): images are near that are similar to the same gallery images.

An image's affinities are its similarities to all gallery images, those beyond the `k1` largest 0; a gallery image's are
the mean over those of its `k2` nearest, itself the first. The cosine of two images' affinities is added to that of
their features. Gallery images of the other modality are compared only with each other, which is easier than across.
As in the authors' program, which leaves out the affinities to other queries.
"""

from __future__ import annotations

import torch

from pipeline.evaluation.distances import check_finite, prepare_pair, to_unit_length
from pipeline.evaluation.ranking import blocks
from pipeline.precision import multiply


@torch.inference_mode()
def aim_distances(
    query: torch.Tensor, gallery: torch.Tensor, *, k1: int = 4, k2: int = 1, metric: str = "cosine"
) -> torch.Tensor:
    """Returns (Q, G) distances from -2 to 2 of (Q, D) and (G, D) features: the negative sum of both cosines.

    Affinities as large as the `k1`-th count too; `metric` can be cosine only. Runs where the features are, in float64
    for float64 features and in float32 otherwise; holds 2 G^2 + Q G numbers. ValueError for features that aren't
    finite, shapes that don't fit, and parameters out of range.
    """
    check_parameters(k1, k2, metric)
    query, gallery = map(to_unit_length, prepare_pair(query, gallery))
    affinities = gallery_affinities(gallery, k1, k2)
    distances = query.new_empty(len(query), len(gallery))
    for rows in blocks(len(query), len(gallery)):
        similarities = multiply(query[rows], gallery.T)
        inferred = multiply(to_unit_length(largest(similarities, k1)[0]), affinities.T)
        distances[rows] = similarities.add_(inferred).neg_()
    check_finite(distances, None)
    return distances


def check_parameters(k1: int, k2: int, metric: str) -> None:
    if metric != "cosine":
        raise ValueError(f"evaluation.metric: expected cosine for re_ranking=aim; found {metric}")
    if k1 < 1:
        raise ValueError(f"evaluation.aim_k1: expected a number of at least 1; found {k1}")
    if not 1 <= k2 <= k1:
        raise ValueError(f"evaluation.aim_k2: expected a number from 1 to aim_k1, {k1}; found {k2}")


def gallery_affinities(gallery: torch.Tensor, k1: int, k2: int) -> torch.Tensor:
    """Returns (G, G) affinities of (G, D) features of unit length: rows of unit length."""
    own, near = largest(multiply(gallery, gallery.T), k1)
    averaged = torch.empty_like(own)
    for rows in blocks(len(own), len(own) * k2):
        averaged[rows] = to_unit_length(own[near[rows, :k2]].mean(dim=1))
    return averaged


def largest(similarities: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns (N, G) similarities, 0 where they are below the `count` largest of their row, and (N, count) places of
    these, the largest first; all G where there are fewer."""
    values, places = similarities.topk(min(count, similarities.shape[1]))
    return similarities.masked_fill(similarities < values[:, -1:], 0), places
