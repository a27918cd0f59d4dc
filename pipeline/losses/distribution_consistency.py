"""The distribution consistency loss of MMN (Zhang et al., ACM MM 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from pipeline.losses.distance import paired_euclidean, to_unit_length
from pipeline.losses.pairs import PairTerm
from pipeline.losses.term import LossContext
from pipeline.settings_key import key


class BatchNorm(nn.Module):
    """Batch norm of (N, D) rows by their own statistics, also in evaluation.

    The rows of a term are those of all ranks already, so ranks must not exchange statistics again, as they do for
    torch's layers (`pipeline.models.norm`).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return functional.batch_norm(rows, None, None, self.weight, self.bias, training=True)


class DistributionConsistencyLoss(PairTerm):
    """The sum over pairs of modalities of mean_i |h(u_i) - h(v_i)|, where u_i and v_i are the features of the i-th rows
    of both, images of the same person, and

    h(x) = l(BN(W_2 relu(BN(W_1 l(x))) + b_2)),  l(x) = x / |x|,

    with batch norms over the rows of both. Every feature goes through the same layers; whether those of the authors'
    stripes share them is not stated, nor how they start: here as torch's.
    """

    @dataclass(frozen=True)
    class Options(PairTerm.Options):
        pairs: list[list[str]] = key(
            [["visible_derived", "infrared_derived"]], "pairs of modalities summed over, compared row by row"
        )
        unit_length: bool = key(True, "divide features by their length first")
        width: int = key(256, "of both layers", min=1)
        trained: bool = key(True, "false: the layers stay as random as they begin, as released")

    settings: Options

    def __init__(self, settings: Options, context: LossContext) -> None:
        super().__init__(settings, context)
        width = settings.width
        self.layers = nn.Sequential(
            nn.Linear(self.width_of(settings.of), width, bias=False),
            BatchNorm(width),
            nn.ReLU(),
            nn.Linear(width, width),
            BatchNorm(width),
        )
        self.layers.requires_grad_(settings.trained)

    def between(
        self, features_1: torch.Tensor, labels_1: torch.Tensor, features_2: torch.Tensor, labels_2: torch.Tensor
    ) -> torch.Tensor:
        if len(features_1) != len(features_2):
            raise ValueError(f"pairs: expected modalities of as many rows; found {len(features_1)}, {len(features_2)}")
        if not len(features_1):
            return features_1.sum() * 0  # still part of the graph
        both = to_unit_length(self.layers(torch.cat([features_1, features_2])))
        return paired_euclidean(*both.split(len(features_1))).mean()
