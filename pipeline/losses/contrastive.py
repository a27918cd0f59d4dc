"""The contrastive loss of TONE (Ye et al., AAAI 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pipeline.losses.centers import mean_over
from pipeline.losses.distance import paired_euclidean, pairwise_euclidean
from pipeline.losses.pairs import PairTerm
from pipeline.settings_key import key


def pair_contrastive_loss(
    visible: torch.Tensor, infrared: torch.Tensor, same: torch.Tensor, margin: float
) -> torch.Tensor:
    """Returns half the mean over the given pairs i of d_i^2 where same, else [margin - d_i]_+^2 (a scalar).

    visible, infrared (N, D), same (N,) bool, d_i = |visible_i - infrared_i|. It is the formula that the authors' code
    (mangye16/Visible-Thermal-Person-Re-Identification) means; as released, its features are divided by the lengths of
    columns, and distances and labels of different pairs are multiplied.
    """
    return contrast(paired_euclidean(visible, infrared), same, margin).mean() / 2


def contrastive_loss(
    features_1: torch.Tensor,
    labels_1: torch.Tensor,
    features_2: torch.Tensor,
    labels_2: torch.Tensor,
    margin: float,
) -> torch.Tensor:
    """Returns what `pair_contrastive_loss` is on average if half the pairs are drawn from those of one identity and
    half from those of two, as the authors draw about half theirs. A kind of which there is no pair counts 0.

    features_1 (N, D), labels_1 (N,) int64 of one modality; features_2 (M, D), labels_2 (M,) of the other.
    """
    same = labels_1[:, None] == labels_2[None, :]
    values = contrast(pairwise_euclidean(features_1, features_2), same, margin)
    return (mean_over(values, same) + mean_over(values, ~same)) / 4


def contrast(distance: torch.Tensor, same: torch.Tensor, margin: float) -> torch.Tensor:
    """Returns the squared distance where `same`, else the squared hinge on it; all of one shape."""
    return torch.where(same, distance, torch.relu(margin - distance)).square()


class ContrastiveLoss(PairTerm):
    """The sum of `contrastive_loss` over pairs of modalities, of all pairs of their rows."""

    @dataclass(frozen=True)
    class Options(PairTerm.UnitEmbeddings):
        margin: float = key(0.5, "distance at which rows of two identities are far enough apart", min=0)

    settings: Options

    def between(
        self, features_1: torch.Tensor, labels_1: torch.Tensor, features_2: torch.Tensor, labels_2: torch.Tensor
    ) -> torch.Tensor:
        return contrastive_loss(features_1, labels_1, features_2, labels_2, self.settings.margin)
