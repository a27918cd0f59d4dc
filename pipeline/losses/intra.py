"""The multi-mode intra-modality loss (MML) of one modality."""

from __future__ import annotations

import torch

from pipeline.losses.distance import euclidean
from pipeline.losses.hardest import batch_hard_hinge


def intra_modality_loss(features: torch.Tensor, labels: torch.Tensor, margin: float, reduction: str) -> torch.Tensor:
    """MML(M) = sum over i in M of [a + max_{j in M, y_j = y_i} D_ij - min_{k in M, y_k != y_i} D_ik]_+ (a scalar).

    features (N, D) of modality M, labels (N,) int64, a = margin, D Euclidean. The anchor itself is among its positives,
    at distance 0. reduction "sum", or "mean" over the anchors that have a negative. ICPR 2020, slide on MML (which
    prints a plus before the min; with it the loss could not reach 0).
    """
    distance, same_identity = euclidean(features, features), labels[:, None] == labels[None, :]
    return batch_hard_hinge(features, features, distance, same_identity, margin, reduction)
