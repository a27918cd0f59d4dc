"""Distances between features, in float32 or wider.

Computed from differences, not from inner products: equal rows are at distance 0 exactly, close rows keep their digits,
and no setting of matrix products (autocast, TF32) matters.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from pipeline.precision import multiply, wide


@torch.no_grad()
def euclidean(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Returns D_ij = ||a_i - b_j||_2: (N, D), (M, D) -> (N, M), without a gradient: enough to choose pairs by."""
    return torch.cdist(wide(a), wide(b), compute_mode="donot_use_mm_for_euclid_dist")


def pairwise_euclidean(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Returns `euclidean` with a gradient, for terms that weigh all pairs. The gradient at distance 0 is 0."""
    return _PairwiseEuclidean.apply(wide(a), wide(b))


class _PairwiseEuclidean(torch.autograd.Function):
    """With G the gradient of D and W = G / D: grad a_i = sum_j W_ij (a_i - b_j), by two products of matrices instead of
    the N M D differences that would fill a GPU."""

    @staticmethod
    def forward(context: Any, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        distance = euclidean(a, b)
        context.save_for_backward(a, b, distance)
        return distance

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        a, b, distance = context.saved_tensors
        share = torch.where(distance > 0, gradient / distance, 0)
        # differences don't change with the origin, and lose the fewest digits near it
        origin = (a.sum(dim=0) + b.sum(dim=0)) / max(len(a) + len(b), 1)
        a, b = a - origin, b - origin
        grad_a = a * share.sum(dim=1, keepdim=True) - multiply(share, b)
        return grad_a, b * share.sum(dim=0)[:, None] - multiply(share.T, a)


def paired_euclidean(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Returns ||a_i - b_i||_2: (N, D), (N, D) -> (N,). The gradient at distance 0 is 0."""
    return torch.linalg.vector_norm(wide(a) - wide(b), dim=1)


def to_unit_length(features: torch.Tensor) -> torch.Tensor:
    """Returns rows (N, D) divided by their length, in float32 or wider. A row of zeros stays one, with gradient 0."""
    length = torch.linalg.vector_norm(wide(features), dim=1, keepdim=True)
    return wide(features) / length.masked_fill(length == 0, torch.inf)
