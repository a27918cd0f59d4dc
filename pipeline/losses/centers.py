"""Centers of identities within a batch, without asking the device which identities there are.

Every row holds what belongs to its identity; `first_rows` then chooses one row of each.
"""

from __future__ import annotations

import torch

from pipeline.precision import multiply


def centers_of(wanted: torch.Tensor, features: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns for each wanted label (N,) the mean of the features (M, D) with this label, and how many there are.

    labels (M,) int64; the centers are (N, D), 0 where there is none; their numbers (N,) int64.
    """
    same = wanted[:, None] == labels[None, :]
    count = same.sum(dim=1)
    return multiply(same.to(features.dtype), features) / count.clamp(min=1)[:, None], count


def first_rows(labels: torch.Tensor) -> torch.Tensor:
    """Returns which of the labels (N,) has none of its kind before it, (N,) bool: each identity once."""
    return ~(labels[:, None] == labels[None, :]).tril(diagonal=-1).any(dim=1)


def mean_over(values: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Returns the mean of the values (N,) that are `counted` (N,) bool, a scalar; 0 where none is."""
    return torch.where(counted, values, 0).sum() / counted.sum().clamp(min=1)


def nearest_of(distance: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Returns the least of each row's chosen distances, infinity where it has none: (N, M) -> (N,)."""
    if distance.numel() == 0:
        return distance.new_full((len(distance),), torch.inf)
    return distance.masked_fill(~chosen, torch.inf).min(dim=1).values
