"""Triplet losses on the cosine of features, with each anchor's hardest positive and hardest negative."""

from __future__ import annotations

import torch

from pipeline.losses.centers import mean_over
from pipeline.losses.distance import to_unit_length
from pipeline.losses.hardest import hardest_pairs
from pipeline.precision import multiply


def cosine_triplet(
    anchors: torch.Tensor,
    anchor_labels: torch.Tensor,
    others: torch.Tensor,
    other_labels: torch.Tensor,
    margin: float = 1.0,
) -> torch.Tensor:
    """Returns the mean over anchors i of [margin + max_{k: y_k != y_i} cos_ik - min_{j: y_j = y_i} cos_ij]_+, a scalar.

    anchors (N, D), others (M, D), of any length and type; labels (N,), (M,) int64. An anchor without a positive or a
    negative isn't counted; none left: 0. AlignGAN (Wang et al., ICCV 2019), whose margin is the default.
    """
    if not (len(anchors) and len(others)):
        return anchors.sum() * 0 + others.sum() * 0  # still part of the graph
    negative, positive, counted = hardest_cosines(anchors, anchor_labels, others, other_labels)
    return mean_over(torch.relu(margin + negative - positive), counted)


def pulled_cosine_triplet(
    anchors: torch.Tensor,
    anchor_labels: torch.Tensor,
    others: torch.Tensor,
    other_labels: torch.Tensor,
    margin: float = 0.5,
) -> torch.Tensor:
    """Returns `cosine_triplet` plus the means over anchors of (1 + n)^2 and of (1 - p)^2, a scalar.

    n, p: the cosines of the hardest negative and of the hardest positive, which are pulled to -1 and 1. Hi-CMD (Choi et
    al., CVPR 2020), whose margin is the default.
    """
    if not (len(anchors) and len(others)):
        return anchors.sum() * 0 + others.sum() * 0
    negative, positive, counted = hardest_cosines(anchors, anchor_labels, others, other_labels)
    pull = (1 + negative).square() + (1 - positive).square()
    return mean_over(torch.relu(margin + negative - positive) + pull, counted)


def hardest_cosines(
    anchors: torch.Tensor, anchor_labels: torch.Tensor, others: torch.Tensor, other_labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns each anchor's largest cosine to a negative, (N,), its smallest to a positive, (N,), and whether it has
    both, (N,) bool; in float32 or wider. N, M > 0."""
    cosines = multiply(to_unit_length(anchors), to_unit_length(others).T)
    same_identity = anchor_labels[:, None] == other_labels[None, :]
    positive, negative, counted = hardest_pairs(-cosines.detach(), same_identity)
    of_negative, of_positive = (cosines.gather(1, chosen[:, None]).squeeze(1) for chosen in (negative, positive))
    return of_negative, of_positive, counted
