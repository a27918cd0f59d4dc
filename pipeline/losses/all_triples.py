"""The hinge on all triples of anchor, positive and negative, without an array of them."""

from __future__ import annotations

import torch


def all_triples_hinge(
    distance: torch.Tensor, same_identity: torch.Tensor, margin: float, reduction: str
) -> torch.Tensor:
    """Returns the sum or mean over anchors i of the mean over its positives j and negatives k of
    [margin + D_ij - D_ik]_+ (a scalar).

    distance (N, M), with a gradient; same_identity (N, M) bool. It is what the hinge is on average if positive and
    negative are drawn at random. An anchor without one of them adds nothing and is not counted in the mean.
    """
    positives, negatives = same_identity.sum(dim=1), (~same_identity).sum(dim=1)
    shifted = torch.where(same_identity, distance + margin, distance)
    # A sum of the positive summands alone adds each D_ij + margin as often as there are nearer negatives, and takes
    # each D_ik away as often as there are positives that reach beyond it.
    sums = (shifted * times_counted(shifted.detach().contiguous(), same_identity)).sum(dim=1)
    counted = (positives > 0) & (negatives > 0)
    total = (sums / (positives * negatives).clamp(min=1)).sum()
    return total if reduction == "sum" else total / counted.sum().clamp(min=1)


def times_counted(shifted: torch.Tensor, same_identity: torch.Tensor) -> torch.Tensor:
    """Returns how often each entry of (N, M) is added to the sum of its row: in triples whose hinge is above 0.

    shifted: the distances, and the margin added to those of positives.
    """
    if shifted.numel() == 0:
        return torch.zeros_like(shifted)
    of_positives = shifted.masked_fill(~same_identity, -torch.inf).sort(dim=1).values
    of_negatives = shifted.masked_fill(same_identity, torch.inf).sort(dim=1).values
    nearer = torch.searchsorted(of_negatives, shifted)
    beyond = shifted.shape[1] - torch.searchsorted(of_positives, shifted, right=True)
    return torch.where(same_identity, nearer, -beyond).to(shifted.dtype)
