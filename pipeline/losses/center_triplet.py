"""The center triplet loss of XIV (Li et al., AAAI 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from pipeline.losses.centers import centers_of, first_rows, mean_over, nearest_of
from pipeline.losses.distance import pairwise_euclidean
from pipeline.losses.pairs import PairTerm
from pipeline.precision import multiply
from pipeline.settings_key import key


def center_triplet_loss(
    features_1: torch.Tensor,
    labels_1: torch.Tensor,
    features_2: torch.Tensor,
    labels_2: torch.Tensor,
    margin: float,
    distance: str = "euclidean",
) -> torch.Tensor:
    """Returns T(M1, M2) + T(M2, M1), a scalar, where T(a, b) is the mean over identities k that both have of

    [margin + D_kk - min(min_{l != k} D_kl, min_{l != k} D_lk)]_+,  D_kl = |c^a_k - c^b_l|,

    and c^a_k is the mean of the rows of k in a. features_1 (N, D), labels_1 (N,) int64 of modality M1; features_2
    (M, D), labels_2 (M,) of M2. Both directions are equal: each looks at rows and columns of D.

    distance: "euclidean", or "released" as in the authors' code (Alexadlu/XIVReID), `released_distances`.
    """
    # a row of M1 for each identity, though an identity has several; only one of them is counted
    center_1, _ = centers_of(labels_1, features_1, labels_1)
    center_2, count_2 = centers_of(labels_1, features_2, labels_2)
    in_both = count_2 > 0
    between = (released_distances if distance == "released" else pairwise_euclidean)(center_1, center_2)
    negative = (labels_1[:, None] != labels_1[None, :]) & in_both[:, None] & in_both[None, :]
    nearest = nearest_of(between, negative).minimum(nearest_of(between.T, negative.T))
    hinge = torch.relu(margin + between.diagonal() - nearest)
    return 2 * mean_over(hinge, in_both & first_rows(labels_1))


def released_distances(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Returns D_kl = sqrt(|a_l|^2 + |b_k|^2 - 2 a_k b_l), (K, D) twice -> (K, K).

    The squared lengths stand at each other's place, as in the authors' code: D is Euclidean on the diagonal, and
    elsewhere where all lengths are equal. A square below 1e-12 counts as 1e-12, without a gradient.
    """
    squares = a.square().sum(dim=1)[None, :] + b.square().sum(dim=1)[:, None] - 2 * multiply(a, b.T)
    return squares.clamp(min=1e-12).sqrt()


class CenterTripletLoss(PairTerm):
    """The sum of `center_triplet_loss` over pairs of modalities."""

    @dataclass(frozen=True)
    class Options(PairTerm.Options):
        pairs: list[list[str]] = key(
            [["infrared", "visible"], ["infrared", "visible_derived"]],
            "pairs of modalities summed over, each in both directions",
        )
        margin: float = key(0.5, "of the hinge, in units of the feature distance", min=0)
        distance: Literal["euclidean", "released"] = key("euclidean", "between centers; released: the authors' slip")

    settings: Options

    def between(
        self, features_1: torch.Tensor, labels_1: torch.Tensor, features_2: torch.Tensor, labels_2: torch.Tensor
    ) -> torch.Tensor:
        options = self.settings.margin, self.settings.distance
        return center_triplet_loss(features_1, labels_1, features_2, labels_2, *options)
