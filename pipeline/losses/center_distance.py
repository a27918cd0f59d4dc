"""The squared distance between the centers of an identity in two modalities, as in readings of MSR and HSME.

Feng et al., TIP 2020, and Hao et al., AAAI 2019, name such a constraint in their abstracts; formulas are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pipeline.losses.centers import centers_of, first_rows, mean_over
from pipeline.losses.distance import to_unit_length
from pipeline.losses.pairs import PairTerm
from pipeline.settings_key import key


def center_distance_loss(
    features_1: torch.Tensor,
    labels_1: torch.Tensor,
    features_2: torch.Tensor,
    labels_2: torch.Tensor,
    unit_centers: bool = False,
) -> torch.Tensor:
    """Returns the mean over identities k that both modalities have of |c^1_k - c^2_k|^2 (a scalar), where c_k is the
    mean of the rows of k in a modality, divided by its length if unit_centers.

    features_1 (N, D), labels_1 (N,) int64 of one modality; features_2 (M, D), labels_2 (M,) of the other.
    """
    # a row for each row of the first modality, though an identity has several; only one of them is counted
    center_1, _ = centers_of(labels_1, features_1, labels_1)
    center_2, count_2 = centers_of(labels_1, features_2, labels_2)
    if unit_centers:
        center_1, center_2 = to_unit_length(center_1), to_unit_length(center_2)
    squares = (center_1 - center_2).square().sum(dim=1)
    return mean_over(squares, (count_2 > 0) & first_rows(labels_1))


class CenterDistanceLoss(PairTerm):
    """The sum of `center_distance_loss` over pairs of modalities: of rows of unit length (MSR), or of centers of unit
    length (HSME)."""

    @dataclass(frozen=True)
    class Options(PairTerm.Options):
        unit_length: bool = key(True, "divide features by their length first")
        unit_centers: bool = key(False, "divide centers by their length")

    settings: Options

    def between(
        self, features_1: torch.Tensor, labels_1: torch.Tensor, features_2: torch.Tensor, labels_2: torch.Tensor
    ) -> torch.Tensor:
        return center_distance_loss(features_1, labels_1, features_2, labels_2, self.settings.unit_centers)
