"""The hetero-center triplet loss of HCT (Liu, Tan, Zhou, TMM 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pipeline.losses.centers import centers_of, first_rows, mean_over, nearest_of
from pipeline.losses.distance import paired_euclidean, pairwise_euclidean
from pipeline.losses.pairs import PairTerm
from pipeline.settings_key import key


def hetero_center_triplet_loss(
    features_1: torch.Tensor,
    labels_1: torch.Tensor,
    features_2: torch.Tensor,
    labels_2: torch.Tensor,
    margin: float,
) -> torch.Tensor:
    """Returns the mean over the centers c^m_k, of both modalities m and the identities k that both have, of

    [margin + |c^m_k - c^{other m}_k| - min_{l != k, m' in both} |c^m_k - c^{m'}_l|]_+,

    a scalar: the batch-hard triplet loss of centers, each the mean of an identity's rows in a modality.

    features_1 (N, D), labels_1 (N,) int64 of one modality; features_2 (M, D), labels_2 (M,) of the other. Identities
    that one of them lacks count nowhere; with fewer than two others it is 0.
    """
    # a row for each row of the first modality, though an identity has several; only one of them is counted
    center_1, _ = centers_of(labels_1, features_1, labels_1)
    center_2, count_2 = centers_of(labels_1, features_2, labels_2)
    in_both = count_2 > 0
    centers, labels, known = torch.cat([center_1, center_2]), labels_1.repeat(2), in_both.repeat(2)
    negative = (labels[:, None] != labels[None, :]) & known[None, :]
    nearest = nearest_of(pairwise_euclidean(centers, centers), negative)
    hinge = torch.relu(margin + paired_euclidean(center_1, center_2).repeat(2) - nearest)
    return mean_over(hinge, (in_both & first_rows(labels_1)).repeat(2))


class HeteroCenterTripletLoss(PairTerm):
    """The sum of `hetero_center_triplet_loss` over pairs of modalities."""

    @dataclass(frozen=True)
    class Options(PairTerm.Options):
        margin: float = key(0.3, "of the hinge, in units of the feature distance", min=0)

    settings: Options

    def between(
        self, features_1: torch.Tensor, labels_1: torch.Tensor, features_2: torch.Tensor, labels_2: torch.Tensor
    ) -> torch.Tensor:
        return hetero_center_triplet_loss(features_1, labels_1, features_2, labels_2, self.settings.margin)
