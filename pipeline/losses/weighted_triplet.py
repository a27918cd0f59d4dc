"""The weighted regularized triplet loss of AGW (Ye et al., TPAMI 2022)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from pipeline.batch import MODALITY_NAMES
from pipeline.losses.centers import mean_over
from pipeline.losses.distance import euclidean, pairwise_euclidean
from pipeline.losses.term import FeatureTerm, LossContext, Measured, Rows, modalities_chosen
from pipeline.settings_key import key

EPSILON = 1e-6  # in the released form: added to sums of exponentials, and the smallest distance


def weighted_triplet_loss(features: torch.Tensor, labels: torch.Tensor, released: bool = False) -> torch.Tensor:
    """Returns the mean over rows i of log(1 + exp(sum_j wp_ij D_ij - sum_k wn_ik D_ik)) (a scalar), where

    wp_i is the softmax of D_ij over the rows j with y_j = y_i, i itself among them, and wn_i that of -D_ik over the
    others. features (N, D), labels (N,) int64, D Euclidean. The gradient flows through the weights too. A row without
    a negative is not counted.

    released: as in the authors' code (mangye16/Cross-Modal-Re-ID-baseline), which adds 1e-6 to the sums below the
    weights. It is nothing next to the positives' sum, whose largest summand is 1, but the negatives' is a sum of
    exp(-D): far apart, their weights vanish (`negative_weights`).
    """
    if not len(features):
        return features.sum() * 0  # still part of the graph
    same = labels[:, None] == labels[None, :]
    distance = pairwise_euclidean(features, features)
    mean = released_mean if released else softmax_mean
    if released:
        distance = distance.clamp(min=EPSILON)
    furthest, nearest = mean(distance, distance, same), mean(distance, -distance, ~same)
    return mean_over(-functional.logsigmoid(nearest - furthest), ~same.all(dim=1))


def softmax_mean(values: torch.Tensor, logits: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Returns the mean of each row's chosen values, weighted by the softmax of their logits: (N, M) each -> (N,).

    0 for a row without any.
    """
    # the least number, not -inf: the softmax of a row of -inf is NaN, and so is its gradient
    weights = logits.masked_fill(~chosen, torch.finfo(logits.dtype).min).softmax(dim=1)
    return (weights * chosen * values).sum(dim=1)


def released_mean(values: torch.Tensor, logits: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Returns `softmax_mean` as released: the exponents are relative to the largest logit of the row or 0, which stands
    for those not chosen, and EPSILON is added to their sum."""
    shifted = logits - (logits * chosen).amax(dim=1, keepdim=True)
    exponentials = shifted.masked_fill(~chosen, -torch.inf).exp()
    weights = exponentials / (exponentials.sum(dim=1, keepdim=True) + EPSILON)
    return (weights * values).sum(dim=1)


@torch.no_grad()
def negative_weights(features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Returns the mean over rows i of S_i / (S_i + 1e-6), S_i = sum of exp(-D_ik) over the negatives k (a scalar).

    It is the sum of a row's negative weights in the released form, in 0 .. 1: near 1 that form is the exact one, near 0
    negatives are no longer seen. features (N, D), labels (N,) int64.
    """
    same = labels[:, None] == labels[None, :]
    exponentials = (-euclidean(features, features)).exp().masked_fill(same, 0).sum(dim=1)
    return mean_over(exponentials / (exponentials + EPSILON), ~same.all(dim=1))


class WeightedTripletLoss(FeatureTerm):
    """`weighted_triplet_loss` over all rows of its modalities together."""

    @dataclass(frozen=True)
    class Options(FeatureTerm.Options):
        modalities: list[str] | None = key(
            None, "modalities compared with each other; null: all in batch.modalities", choices=MODALITY_NAMES
        )
        released: bool = key(False, "the weights of the authors' code, which vanish for negatives that are far")

    settings: Options

    def __init__(self, settings: Options, context: LossContext) -> None:
        super().__init__(settings, context)
        self.modalities = modalities_chosen(settings.modalities, settings.weight, context)

    def forward(self, rows: Rows) -> Measured:
        parts = [rows.of(modality) for modality in self.modalities]
        vectors, labels = torch.cat([self.vectors(part) for part in parts]), torch.cat([part.labels for part in parts])
        loss = weighted_triplet_loss(vectors, labels, self.settings.released)
        return Measured(loss, {"negative_weights": negative_weights(vectors, labels)})
