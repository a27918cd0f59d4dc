"""Distances between features, in float32 or wider.

Computed from differences, not from inner products: equal rows are at distance 0 exactly, close rows keep their digits,
and no setting of matrix products (autocast, TF32) matters.
"""

from __future__ import annotations

import torch


@torch.no_grad()
def euclidean(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Returns D_ij = ||a_i - b_j||_2: (N, D), (M, D) -> (N, M), without a gradient.

    That would need N M D numbers on a GPU.
    """
    return torch.cdist(wide(a), wide(b), compute_mode="donot_use_mm_for_euclid_dist")


def paired_euclidean(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Returns ||a_i - b_i||_2: (N, D), (N, D) -> (N,). The gradient at distance 0 is 0."""
    return torch.linalg.vector_norm(wide(a) - wide(b), dim=1)


def wide(features: torch.Tensor) -> torch.Tensor:
    """Returns features in float32, or wider where they are."""
    return features.to(torch.promote_types(features.dtype, torch.float32))
