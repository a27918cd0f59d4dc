"""The multi-directional cross-modality loss (MDL) of one pair of modalities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from pipeline.losses.all_triples import all_triples_hinge
from pipeline.losses.distance import euclidean, pairwise_euclidean
from pipeline.losses.hardest import BatchHardLoss, batch_hard_hinge
from pipeline.losses.pairs import PairTerm
from pipeline.settings_key import key


def cross_modality_loss(
    features_1: torch.Tensor,
    labels_1: torch.Tensor,
    features_2: torch.Tensor,
    labels_2: torch.Tensor,
    margin: float,
    reduction: str,
    mining: str = "hardest",
) -> torch.Tensor:
    """Returns MDL(M1 <-> M2) = MDL(M1 -> M2) + MDL(M2 -> M1) (a scalar), where

    MDL(M1 -> M2) = sum over i in M1 of [a + max_{j in M2, y_j = y_i} D_ij - min_{k in M2, y_k != y_i} D_ik]_+.

    features_1 (N, D), labels_1 (N,) int64 of modality M1; features_2 (M, D), labels_2 (M,) of M2; a = margin, D
    Euclidean. reduction "sum", or "mean" over each direction's anchors that have a positive and a negative in the other
    modality. ICPR 2020, slide on MDL.

    mining "all" looks at all positives j and negatives k instead of the hardest: the mean over both of [a + D_ij -
    D_ik]_+ stands for an anchor. cmGAN draws one of each at random (Dai et al., IJCAI 2018); this is its average.
    """
    same_identity = labels_1[:, None] == labels_2[None, :]
    if mining == "all":
        between = pairwise_euclidean(features_1, features_2)
        forth = all_triples_hinge(between, same_identity, margin, reduction)
        return forth + all_triples_hinge(between.T, same_identity.T, margin, reduction)
    distance = euclidean(features_1, features_2)
    forth = batch_hard_hinge(features_1, features_2, distance, same_identity, margin, reduction)
    back = batch_hard_hinge(features_2, features_1, distance.T, same_identity.T, margin, reduction)
    return forth + back


class CrossModalityLoss(PairTerm, BatchHardLoss):
    """MDL: the sum of `cross_modality_loss` over pairs of modalities."""

    @dataclass(frozen=True)
    class Options(PairTerm.Options, BatchHardLoss.Options):
        pairs: list[list[str]] = key(
            [["infrared", "visible"], ["visible", "infrared_derived"], ["infrared", "visible_derived"]],
            "pairs of modalities summed over, each in both directions",
        )
        mining: Literal["hardest", "all"] = key("hardest", "of an anchor's positives and negatives: hardest or all")

    settings: Options

    def between(
        self, features_1: torch.Tensor, labels_1: torch.Tensor, features_2: torch.Tensor, labels_2: torch.Tensor
    ) -> torch.Tensor:
        return cross_modality_loss(features_1, labels_1, features_2, labels_2, *self.hinge, self.settings.mining)
