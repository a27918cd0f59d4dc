"""A reading of the bi-directional center-constrained ranking of eBDTR (Ye et al., TIFS 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pipeline.losses.centers import centers_of, mean_over
from pipeline.losses.distance import euclidean, paired_euclidean
from pipeline.losses.hardest import hardest_pairs
from pipeline.losses.pairs import PairTerm
from pipeline.settings_key import key


def center_ranking_loss(
    features_1: torch.Tensor,
    labels_1: torch.Tensor,
    features_2: torch.Tensor,
    labels_2: torch.Tensor,
    margin: float,
) -> torch.Tensor:
    """Returns R(M1 -> M2) + R(M2 -> M1), a scalar, where R(a -> b) is the mean over rows i of a of

    [margin + |a_i - c_i| - min_{j: other identity} |a_i - b_j|]_+,

    and c_i is the mean of the rows of b of the identity of a_i. features_1 (N, D), labels_1 (N,) int64 of modality M1;
    features_2 (M, D), labels_2 (M,) of M2. A row whose identity b lacks, or that has no negative, is not counted.

    The paper's formula was not at hand and there is no public code. This is our reading of its abstract: a center
    takes the place of BDTR's positive and of its second constraint.
    """
    there, back = (features_1, labels_1), (features_2, labels_2)
    return ranking(*there, *back, margin) + ranking(*back, *there, margin)


def ranking(
    anchors: torch.Tensor, anchor_labels: torch.Tensor, others: torch.Tensor, labels: torch.Tensor, margin: float
) -> torch.Tensor:
    """Returns one direction: anchors (N, D), others (M, D) -> a scalar."""
    same = anchor_labels[:, None] == labels[None, :]
    if same.numel() == 0:
        return anchors.sum() * 0 + others.sum() * 0  # still part of the graph
    _, negative, counted = hardest_pairs(euclidean(anchors, others), same)
    center, _ = centers_of(anchor_labels, others, labels)
    hinge = torch.relu(margin + paired_euclidean(anchors, center) - paired_euclidean(anchors, others[negative]))
    return mean_over(hinge, counted)


class CenterRankingLoss(PairTerm):
    """The sum of `center_ranking_loss` over pairs of modalities."""

    @dataclass(frozen=True)
    class Options(PairTerm.UnitEmbeddings):
        margin: float = key(0.5, "of the hinge, in units of the feature distance", min=0)

    settings: Options

    def between(
        self, features_1: torch.Tensor, labels_1: torch.Tensor, features_2: torch.Tensor, labels_2: torch.Tensor
    ) -> torch.Tensor:
        return center_ranking_loss(features_1, labels_1, features_2, labels_2, self.settings.margin)
