"""The hinge on each anchor's hardest positive and hardest negative, shared by MML and MDL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch

from pipeline.losses.distance import paired_euclidean
from pipeline.losses.term import FeatureTerm
from pipeline.settings_key import key

Reduction = Literal["mean", "sum"]


def batch_hard_hinge(
    anchors: torch.Tensor,
    others: torch.Tensor,
    distance: torch.Tensor,
    same_identity: torch.Tensor,
    margin: float,
    reduction: str,
) -> torch.Tensor:
    """Returns the sum or mean over anchors i of [margin + max_{j: same} D_ij - min_{k: different} D_ik]_+ (a scalar).

    anchors (N, D), others (M, D); their Euclidean distance (N, M), which only chooses the pairs and needs no gradient;
    same_identity (N, M) bool. Of several equally hard pairs one is chosen.

    Hermans et al., "In Defense of the Triplet Loss for Person Re-Identification", 2017, eq. 5. Without a positive or
    without a negative the hinge is not defined: such an anchor adds nothing to the sum and is not counted in the mean.
    No anchor left: 0. Raises ValueError for unknown reduction.
    """
    if reduction not in get_args(Reduction):
        raise ValueError(f"reduction: expected one of {', '.join(get_args(Reduction))}; found {reduction!r}")
    if distance.numel() == 0:
        return anchors.sum() * 0 + others.sum() * 0  # still part of the graph
    hardest_positive, hardest_negative, counted = hardest_pairs(distance, same_identity)
    to_positive = paired_euclidean(anchors, others[hardest_positive])
    to_negative = paired_euclidean(anchors, others[hardest_negative])
    total = (torch.relu(margin + to_positive - to_negative) * counted).sum()
    return total if reduction == "sum" else total / counted.sum().clamp(min=1)


def hardest_pairs(
    distance: torch.Tensor, same_identity: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns each anchor's furthest positive and nearest negative, (N,) int64, and whether it has both, (N,) bool.

    distance, same_identity: (N, M), M > 0. An anchor without one of them gets any row for it.
    """
    furthest_positive = distance.masked_fill(~same_identity, -torch.inf).argmax(dim=1)
    nearest_negative = distance.masked_fill(same_identity, torch.inf).argmin(dim=1)
    return furthest_positive, nearest_negative, same_identity.any(dim=1) & ~same_identity.all(dim=1)


class BatchHardLoss(FeatureTerm):
    """The common base of terms with a `batch_hard_hinge`."""

    @dataclass(frozen=True)
    class Options(FeatureTerm.Options):
        margin: float = key(0.3, "of the hinge, in units of the feature distance", min=0)
        reduction: Reduction = key("mean", "over the anchors")

    settings: Options

    @property
    def hinge(self) -> tuple[float, str]:
        return self.settings.margin, self.settings.reduction

    @property
    def adds_rows(self) -> bool:
        return self.settings.reduction == "sum"
