from __future__ import annotations

import pytest
import torch

from pipeline.losses.distance import euclidean
from pipeline.losses.hardest import batch_hard_hinge


def _loop(distance: torch.Tensor, same: torch.Tensor, margin: float, reduction: str) -> torch.Tensor:
    """Differentiable with respect to the distances."""
    hinges = [torch.zeros(())]
    for distances, sames in zip(distance, same, strict=True):
        if sames.any() and not sames.all():
            hinges.append(torch.relu(margin + distances[sames].max() - distances[~sames].min()))
    total = torch.stack(hinges).sum()
    return total / max(1, len(hinges) - 1) if reduction == "mean" else total


def _hinge(anchors: torch.Tensor, others: torch.Tensor, same: torch.Tensor, *options) -> torch.Tensor:
    return batch_hard_hinge(anchors, others, euclidean(anchors, others), same, *options)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("seed", range(5))
def test_value_and_gradient_equal_a_loop(reduction: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = [torch.rand(rows, 7, generator=generator, requires_grad=True) for rows in (12, 9)]
    same = torch.rand(12, 9, generator=generator) < 0.2  # some rows without a positive
    same[3] = True  # one without a negative
    result = _hinge(*features, same, 0.3, reduction)
    expected = _loop((features[0][:, None] - features[1]).norm(dim=2), same, 0.3, reduction)
    torch.testing.assert_close(result, expected)
    torch.testing.assert_close(torch.autograd.grad(result, features), torch.autograd.grad(expected, features))


def test_anchor_without_negative_or_positive_is_not_counted() -> None:
    anchors = torch.tensor([[0.0], [50.0], [60.0]], requires_grad=True)
    others = torch.tensor([[1.0], [2.0]], requires_grad=True)
    same = torch.tensor([[False, True], [True, True], [False, False]])
    loss = _hinge(anchors, others, same, 0.5, "mean")
    assert loss.item() == 0.5 + 2.0 - 1.0
    loss.backward()
    assert torch.equal(others.grad, torch.tensor([[-1.0], [1.0]]))
    assert torch.equal(anchors.grad, torch.zeros(3, 1))  # pulled to one and pushed from the other on the same side


@pytest.mark.parametrize("same", [torch.ones(2, 3, dtype=torch.bool), torch.zeros(2, 3, dtype=torch.bool)])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_no_anchor_left_gives_zero_and_a_gradient_of_zero(same: torch.Tensor, reduction: str) -> None:
    anchors, others = torch.rand(2, 4, requires_grad=True), torch.rand(3, 4, requires_grad=True)
    loss = _hinge(anchors, others, same, 0.3, reduction)
    loss.backward()
    assert loss.item() == 0.0
    assert not anchors.grad.any() and not others.grad.any()


@pytest.mark.parametrize("rows", [(0, 0), (0, 3), (3, 0)])
def test_no_rows(rows: tuple[int, int]) -> None:
    anchors, others = (torch.rand(count, 4, requires_grad=True) for count in rows)
    loss = _hinge(anchors, others, torch.zeros(rows, dtype=torch.bool), 0.3, "mean")
    assert loss.item() == 0.0
    loss.backward()


def test_unknown_reduction() -> None:
    with pytest.raises(ValueError, match="reduction: expected one of mean, sum; found 'median'"):
        _hinge(torch.ones(1, 1), torch.ones(1, 1), torch.ones(1, 1, dtype=torch.bool), 0.3, "median")
