from __future__ import annotations

import math

import pytest
import torch

from pipeline.losses.cross import cross_modality_loss

LABELS_1 = torch.tensor([0, 0, 1, 1, 2])
LABELS_2 = torch.tensor([0, 1, 1, 2, 2, 3])  # identity 3 has no positive in the other modality


def _features(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(n, 4, dtype=dtype, generator=generator) for n in (len(LABELS_1), len(LABELS_2)))


def _one_direction(anchors: list, anchor_labels: list, others: list, labels: list, margin: float) -> list[float]:
    hinges = []
    for anchor, label in zip(anchors, anchor_labels, strict=True):
        positives = [math.dist(anchor, other) for other, found in zip(others, labels, strict=True) if found == label]
        negatives = [math.dist(anchor, other) for other, found in zip(others, labels, strict=True) if found != label]
        if positives and negatives:
            hinges.append(max(0.0, margin + max(positives) - min(negatives)))
    return hinges


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("margin", [0.0, 0.3, 5.0])
def test_equals_a_loop(margin: float, reduction: str) -> None:
    features_1, features_2 = _features()
    first, second = (features_1.tolist(), LABELS_1.tolist()), (features_2.tolist(), LABELS_2.tolist())
    forth, back = _one_direction(*first, *second, margin), _one_direction(*second, *first, margin)
    assert (len(forth), len(back)) == (5, 5)
    expected = sum(sum(h) / (len(h) if reduction == "mean" else 1) for h in (forth, back))
    loss = cross_modality_loss(features_1, LABELS_1, features_2, LABELS_2, margin, reduction)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_the_order_of_the_pair_does_not_matter() -> None:
    features_1, features_2 = _features()
    there = cross_modality_loss(features_1, LABELS_1, features_2, LABELS_2, 0.3, "mean")
    torch.testing.assert_close(there, cross_modality_loss(features_2, LABELS_2, features_1, LABELS_1, 0.3, "mean"))


def test_only_pairs_across_count() -> None:
    # Within the first modality identity 0 is far apart, which must not be seen.
    features_1, labels = torch.tensor([[-50.0], [50.0]]), torch.tensor([0, 1])
    loss = cross_modality_loss(features_1, labels, features_1.clone(), labels, 0.3, "sum")
    assert loss.item() == 0.0


def test_a_modality_without_rows_gives_zero() -> None:
    features_1, _ = _features()
    loss = cross_modality_loss(features_1, LABELS_1, torch.zeros(0, 4), LABELS_2[:0], 0.3, "mean")
    assert loss.item() == 0.0


def test_equal_rows_give_twice_the_margin_and_a_finite_gradient() -> None:
    features_1, features_2 = torch.ones(5, 4, requires_grad=True), torch.ones(6, 4, requires_grad=True)
    loss = cross_modality_loss(features_1, LABELS_1, features_2, LABELS_2, 0.3, "mean")
    loss.backward()
    assert loss.item() == pytest.approx(0.6)
    assert torch.isfinite(features_1.grad).all() and torch.isfinite(features_2.grad).all()


def test_gradient() -> None:
    def loss(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return cross_modality_loss(a, LABELS_1, b, LABELS_2, 1.0, "mean")

    assert torch.autograd.gradcheck(loss, tuple(f.requires_grad_() for f in _features(torch.float64)))
