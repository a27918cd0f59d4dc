from __future__ import annotations

import math

import pytest
import torch

from pipeline.losses.identity import identity_loss


def _loop(logits: torch.Tensor, labels: torch.Tensor, smoothing: float) -> float:
    losses = []
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        log_sum = math.log(sum(math.exp(value) for value in row))
        target = [smoothing / len(row) + (1 - smoothing) * (c == label) for c in range(len(row))]
        losses.append(-sum(q * (value - log_sum) for q, value in zip(target, row, strict=True)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equals_a_loop(smoothing: float) -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 5), torch.tensor([0, 4, 2, 2, 1, 3])
    assert identity_loss(logits, labels, smoothing).item() == pytest.approx(_loop(logits, labels, smoothing), rel=1e-5)


def test_half_precision_logits_are_computed_in_float32() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 5).bfloat16(), torch.tensor([0, 4, 2, 2, 1, 3])
    assert torch.equal(identity_loss(logits, labels), identity_loss(logits.float(), labels))


def test_gradient() -> None:
    logits = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: identity_loss(x, torch.tensor([0, 1, 2, 0]), 0.1), (logits,))
