"""The weighted regularized triplet loss of AGW (Ye et al., TPAMI 2022), and its squared form of CAJ (ICCV 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from pipeline.losses.centers import mean_over
from pipeline.losses.distance import euclidean, pairwise_euclidean
from pipeline.losses.modalities import ModalitiesTerm
from pipeline.losses.term import Measured, Rows
from pipeline.settings_key import key

EPSILON = 1e-6  # in the released form: added to sums of exponentials, and the smallest distance
LARGEST = 88.0  # in the released squared form: what the exponent is clamped at


def weighted_triplet_loss(
    features: torch.Tensor,
    labels: torch.Tensor,
    released: bool = False,
    *,
    alpha: float = 1.0,
    gamma: float = 1.0,
    square: bool = False,
) -> torch.Tensor:
    """Returns the mean over rows i of log(1 + exp(gamma (a_i - b_i))) (a scalar), where

    a_i = sum_j wp_ij D_ij, b_i = sum_k wn_ik D_ik; wp_i is the softmax of alpha D_ij over the rows j with y_j = y_i, i
    itself among them, and wn_i that of -alpha D_ik over the others. features (N, D), labels (N,) int64, D Euclidean.
    The gradient flows through the weights too. A row without a negative is not counted. alpha, gamma > 0.

    square: (a_i - b_i) |a_i - b_i| instead of a_i - b_i, the "enhanced squared difference" of CAJ.
    released: as in the authors' code (mangye16/Cross-Modal-Re-ID-baseline), which adds 1e-6 to the sums below the
    weights. It is nothing next to the positives' sum, whose largest summand is 1, but the negatives' is a sum of
    exp(-alpha D): far apart, their weights vanish (`negative_weights`). The squared form is then clamped at 88, where
    it has no gradient: with the weights gone, the loss of far features stays there.
    """
    if not len(features):
        return features.sum() * 0  # still part of the graph
    same = labels[:, None] == labels[None, :]
    distance = pairwise_euclidean(features, features)
    mean = released_mean if released else softmax_mean
    if released:
        distance = distance.clamp(min=EPSILON)
    # by 1 it isn't multiplied: the order in which gradients are added up stays what it was
    exponent = distance if alpha == 1 else alpha * distance
    furthest, nearest = mean(distance, exponent, same), mean(distance, -exponent, ~same)
    gap = nearest - furthest
    gap = gamma * (gap * gap.abs() if square else gap)
    if square and released:
        gap = gap.clamp(-LARGEST, LARGEST)
    return mean_over(-functional.logsigmoid(gap), ~same.all(dim=1))


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
def negative_weights(features: torch.Tensor, labels: torch.Tensor, alpha: float = 1.0) -> torch.Tensor:
    """Returns the mean over rows i of S_i / (S_i + 1e-6), a scalar, S_i = sum of exp(-alpha D_ik) over negatives k.

    It is the sum of a row's negative weights in the released form, in 0 .. 1: near 1 that form is the exact one, near 0
    negatives are no longer seen. features (N, D), labels (N,) int64.
    """
    same = labels[:, None] == labels[None, :]
    exponentials = (-alpha * euclidean(features, features)).exp().masked_fill(same, 0).sum(dim=1)
    return mean_over(exponentials / (exponentials + EPSILON), ~same.all(dim=1))


class WeightedTripletLoss(ModalitiesTerm):
    """`weighted_triplet_loss` over all rows of its modalities together."""

    @dataclass(frozen=True)
    class Options(ModalitiesTerm.Options):
        alpha: float = key(1.0, "factor of the distances below the weights' softmax", min=0.001)
        gamma: float = key(1.0, "factor of the difference of the weighted distances", min=0.001)
        square: bool = key(False, "square that difference and keep its sign: CAJ (Ye et al., ICCV 2021)")
        released: bool = key(
            False,
            "the weights of the authors' code, which vanish for negatives that are far, and its clamp of the square at "
            "88, where no gradient is left",
        )

    settings: Options

    def forward(self, rows: Rows) -> Measured:
        vectors, labels = self.together(rows, self.modalities)
        options = self.settings
        loss = weighted_triplet_loss(
            vectors, labels, options.released, alpha=options.alpha, gamma=options.gamma, square=options.square
        )
        return Measured(loss, {"negative_weights": negative_weights(vectors, labels, options.alpha)})
