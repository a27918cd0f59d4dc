"""The hinge on each anchor's hardest positive and hardest negative, shared by MML and MDL."""

from __future__ import annotations

import torch

REDUCTIONS = ("mean", "sum")


def batch_hard_hinge(
    distance: torch.Tensor, same_identity: torch.Tensor, margin: float, reduction: str
) -> torch.Tensor:
    """sum or mean over anchors i of [margin + max_{j: same} D_ij - min_{k: different} D_ik]_+ (a scalar).

    distance (N, M) float, N anchors against M rows; same_identity (N, M) bool.

    Hermans et al., "In Defense of the Triplet Loss for Person Re-Identification", 2017, eq. 5. Without a positive or
    without a negative the hinge is not defined: such an anchor adds nothing to the sum and is not counted in the mean.
    No anchor left: 0. ValueError: unknown reduction.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"loss.reduction: expected one of {', '.join(REDUCTIONS)}; found {reduction!r}")
    if distance.numel() == 0:
        return distance.sum()  # 0, and still part of the graph
    # A missing positive gives -inf, a missing negative +inf; either makes the hinge 0 and its gradient 0.
    hardest_positive = distance.masked_fill(~same_identity, -torch.inf).amax(dim=1)
    hardest_negative = distance.masked_fill(same_identity, torch.inf).amin(dim=1)
    total = torch.relu(margin + hardest_positive - hardest_negative).sum()
    if reduction == "sum":
        return total
    counted = same_identity.any(dim=1) & ~same_identity.all(dim=1)
    return total / counted.sum().clamp(min=1)
