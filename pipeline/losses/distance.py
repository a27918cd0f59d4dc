"""Distances between features."""

from __future__ import annotations

import torch


def euclidean(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """D_ij = ||a_i - b_j||_2: (N, D), (M, D) -> (N, M), in float32 or wider.

    Computed from differences, not from inner products: equal rows are at distance 0 exactly, close rows keep their
    digits, and no setting of matrix products (autocast, TF32) matters. The gradient at distance 0 is 0. On a GPU the
    backward pass holds N M D numbers for a moment.
    """
    dtype = torch.promote_types(a.dtype, torch.float32)
    return torch.cdist(a.to(dtype), b.to(dtype), compute_mode="donot_use_mm_for_euclid_dist")
