from __future__ import annotations

import pytest
import torch

from pipeline.losses.hardest import batch_hard_hinge


def _loop(distance: torch.Tensor, same: torch.Tensor, margin: float, reduction: str) -> float:
    hinges = []
    for distances, sames in zip(distance.tolist(), same.tolist(), strict=True):
        positives = [d for d, s in zip(distances, sames, strict=True) if s]
        negatives = [d for d, s in zip(distances, sames, strict=True) if not s]
        if positives and negatives:
            hinges.append(max(0.0, margin + max(positives) - min(negatives)))
    if not hinges:
        return 0.0
    return sum(hinges) / len(hinges) if reduction == "mean" else sum(hinges)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("seed", range(5))
def test_equals_a_loop(reduction: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    distance = torch.rand(12, 9, generator=generator)
    same = torch.rand(12, 9, generator=generator) < 0.2  # some rows without a positive
    same[3] = True  # one without a negative
    result = batch_hard_hinge(distance, same, 0.3, reduction)
    assert result.item() == pytest.approx(_loop(distance, same, 0.3, reduction), rel=1e-5)


def test_anchor_without_negative_or_positive_is_not_counted() -> None:
    distance = torch.tensor([[1.0, 2.0], [9.0, 9.0], [9.0, 9.0]], requires_grad=True)
    same = torch.tensor([[False, True], [True, True], [False, False]])
    loss = batch_hard_hinge(distance, same, 0.5, "mean")
    assert loss.item() == 0.5 + 2.0 - 1.0
    loss.backward()
    assert torch.equal(distance.grad, torch.tensor([[-1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]))


@pytest.mark.parametrize("same", [torch.ones(2, 3, dtype=torch.bool), torch.zeros(2, 3, dtype=torch.bool)])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_no_anchor_left_gives_zero_and_a_finite_gradient(same: torch.Tensor, reduction: str) -> None:
    distance = torch.ones(2, 3, requires_grad=True)
    loss = batch_hard_hinge(distance, same, 0.3, reduction)
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(distance.grad, torch.zeros(2, 3))


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_no_rows(shape: tuple[int, int]) -> None:
    distance = torch.zeros(shape, requires_grad=True)
    loss = batch_hard_hinge(distance, torch.zeros(shape, dtype=torch.bool), 0.3, "mean")
    assert loss.item() == 0.0
    loss.backward()


def test_unknown_reduction() -> None:
    with pytest.raises(ValueError, match="loss.reduction: expected one of mean, sum; found 'median'"):
        batch_hard_hinge(torch.ones(1, 1), torch.ones(1, 1, dtype=torch.bool), 0.3, "median")
