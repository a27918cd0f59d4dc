"""The sphere softmax: a classifier of directions."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


def sphere_logits(features: torch.Tensor, weight: torch.Tensor, scale: float) -> torch.Tensor:
    """Returns (B, C): scale times the cosine of each row of features (B, D) with each row of weight (C, D).

    Fan et al., "SphereReID: Deep Hypersphere Manifold Embedding for Person Re-Identification", JVCIR 2019.
    """
    return scale * functional.normalize(features) @ functional.normalize(weight).T


class SphereClassifier(nn.Module):
    """`sphere_logits` with learned directions, which start as Glorot and Bengio, 2010 (normal). Has no bias."""

    def __init__(self, width: int, identities: int, scale: float) -> None:
        super().__init__()
        self.scale, self.weight = scale, nn.Parameter(torch.empty(identities, width))
        nn.init.xavier_normal_(self.weight)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Maps (B, D) to (B, C)."""
        return sphere_logits(features, self.weight, self.scale)
