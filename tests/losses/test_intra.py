from __future__ import annotations

import math

import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner
from pytorch_metric_learning.reducers import MeanReducer

from pipeline.losses.intra import intra_modality_loss

LABELS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])


def _features(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(len(LABELS), 4, dtype=dtype, generator=torch.Generator().manual_seed(3))


def _loop(features: torch.Tensor, labels: torch.Tensor, margin: float, reduction: str) -> float:
    rows, labels = features.tolist(), labels.tolist()
    hinges = []
    for i in range(len(rows)):
        positives = [math.dist(rows[i], rows[j]) for j in range(len(rows)) if labels[j] == labels[i]]
        negatives = [math.dist(rows[i], rows[k]) for k in range(len(rows)) if labels[k] != labels[i]]
        if negatives:
            hinges.append(max(0.0, margin + max(positives) - min(negatives)))
    return sum(hinges) / (len(hinges) if reduction == "mean" else 1)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("margin", [0.0, 0.3, 5.0])
def test_equals_a_loop(margin: float, reduction: str) -> None:
    expected = _loop(_features(), LABELS, margin, reduction)
    assert intra_modality_loss(_features(), LABELS, margin, reduction).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("margin", [0.3, 5.0])
def test_value_and_gradient_equal_pytorch_metric_learning(margin: float) -> None:
    distance = LpDistance(normalize_embeddings=False)
    peer = TripletMarginLoss(margin=margin, distance=distance, reducer=MeanReducer())
    ours, theirs = _features(torch.float64).requires_grad_(), _features(torch.float64).requires_grad_()
    loss = intra_modality_loss(ours, LABELS, margin, "mean")
    expected = peer(theirs, LABELS, BatchHardMiner(distance=distance)(theirs, LABELS))
    assert loss.item() > 0
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_anchor_alone_of_its_identity_is_its_own_positive() -> None:
    features = torch.tensor([[0.0], [0.1], [0.1]])
    loss = intra_modality_loss(features, torch.tensor([0, 1, 1]), 0.3, "sum")
    assert loss.item() == pytest.approx(3 * (0.3 - 0.1))


def test_separated_identities_give_zero() -> None:
    features = LABELS[:, None].float() * 10
    assert intra_modality_loss(features, LABELS, 0.3, "sum").item() == 0.0


def test_one_identity_gives_zero() -> None:
    assert intra_modality_loss(_features(), torch.zeros_like(LABELS), 0.3, "mean").item() == 0.0


def test_equal_rows_give_the_margin_and_a_finite_gradient() -> None:
    features = torch.ones(len(LABELS), 4, requires_grad=True)
    loss = intra_modality_loss(features, LABELS, 0.3, "mean")
    loss.backward()
    assert loss.item() == pytest.approx(0.3)
    assert torch.isfinite(features.grad).all()


def test_gradient() -> None:
    features = _features(torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: intra_modality_loss(x, LABELS, 1.0, "mean"), (features,))
