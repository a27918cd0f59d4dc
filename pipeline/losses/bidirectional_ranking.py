"""The bi-directional dual-constrained top-ranking loss of BDTR (Ye et al., IJCAI 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pipeline.losses.centers import mean_over
from pipeline.losses.distance import euclidean, paired_euclidean
from pipeline.losses.hardest import hardest_pairs
from pipeline.losses.pairs import PairTerm
from pipeline.settings_key import key


def bidirectional_ranking_loss(
    features_1: torch.Tensor,
    labels_1: torch.Tensor,
    features_2: torch.Tensor,
    labels_2: torch.Tensor,
    margin: float,
    intra_margin: float,
    intra_weight: float,
) -> torch.Tensor:
    """Returns R(M1 -> M2) + R(M2 -> M1), a scalar, where R(a -> b) is the mean over rows i of a of

    [margin + D(a_i, b_p) - D(a_i, b_n)]_+ + intra_weight [intra_margin - D(b_p, b_n)]_+,

    b_p the furthest row of b of the identity of a_i and b_n the nearest of another. features_1 (N, D), labels_1 (N,)
    int64 of modality M1; features_2 (M, D), labels_2 (M,) of M2; D(a, b) = sqrt(|a - b|^2 + 1e-12), as in the authors'
    code (mangye16/Visible-Thermal-Person-Re-Identification). A row without b_p or b_n is not counted.

    The authors' batches have one image of an identity in each modality, which is then b_p; with more of them the
    furthest is our reading. Two versions in the repository of DDAG differ: one adds up the rows of one direction
    instead of taking their mean, one has one direction alone; both leave out the second hinge.
    """
    settings = margin, intra_margin, intra_weight
    same = labels_1[:, None] == labels_2[None, :]
    return ranking(features_1, features_2, same, *settings) + ranking(features_2, features_1, same.T, *settings)


def ranking(
    anchors: torch.Tensor,
    others: torch.Tensor,
    same_identity: torch.Tensor,
    margin: float,
    intra_margin: float,
    intra_weight: float,
) -> torch.Tensor:
    """Returns one direction: anchors (N, D), others (M, D), same_identity (N, M) bool -> a scalar."""
    if same_identity.numel() == 0:
        return anchors.sum() * 0 + others.sum() * 0  # still part of the graph
    positive, negative, counted = hardest_pairs(euclidean(anchors, others), same_identity)
    positives, negatives = others[positive], others[negative]
    across = torch.relu(margin + smooth_distance(anchors, positives) - smooth_distance(anchors, negatives))
    within = torch.relu(intra_margin - smooth_distance(positives, negatives))
    return mean_over(across + intra_weight * within, counted)


def smooth_distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Returns sqrt(|a_i - b_i|^2 + 1e-12): (N, D), (N, D) -> (N,)."""
    return (paired_euclidean(a, b).square() + 1e-12).sqrt()


class BidirectionalRankingLoss(PairTerm):
    """The sum of `bidirectional_ranking_loss` over pairs of modalities."""

    @dataclass(frozen=True)
    class Options(PairTerm.UnitEmbeddings):
        margin: float = key(0.5, "of the hinge across modalities, in units of the feature distance", min=0)
        intra_margin: float = key(0.1, "least distance of positive and negative, both of the other modality", min=0)
        intra_weight: float = key(0.1, "factor of the hinge with intra_margin", min=0)

    settings: Options

    def between(
        self, features_1: torch.Tensor, labels_1: torch.Tensor, features_2: torch.Tensor, labels_2: torch.Tensor
    ) -> torch.Tensor:
        options = self.settings.margin, self.settings.intra_margin, self.settings.intra_weight
        return bidirectional_ranking_loss(features_1, labels_1, features_2, labels_2, *options)
