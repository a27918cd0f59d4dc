from __future__ import annotations

import pytest
import torch

from pipeline.losses.distance import euclidean, paired_euclidean


def _loop(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.tensor(
        [[sum((x - y) ** 2 for x, y in zip(i, j, strict=True)) ** 0.5 for j in b.tolist()] for i in a.tolist()]
    )


def _paired(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The distances of all pairs, by `paired_euclidean`."""
    return torch.stack([paired_euclidean(row.expand_as(b), b) for row in a])


BOTH = pytest.mark.parametrize("distances", [euclidean, _paired])


@BOTH
def test_equals_a_loop(distances) -> None:
    torch.manual_seed(0)
    a, b = torch.randn(5, 7), torch.randn(3, 7)
    torch.testing.assert_close(distances(a, b), _loop(a, b))


@BOTH
def test_close_rows_far_from_the_origin_keep_their_digits(distances) -> None:
    a = torch.full((30, 64), 100.0)  # more than 25 rows, where torch.cdist would turn to inner products
    b = a.clone()
    b[:, 0] += 0.0625
    torch.testing.assert_close(distances(a, b), torch.full((30, 30), 0.0625))


def test_zero_distance_has_value_and_gradient_zero() -> None:
    a = torch.randn(4, 8, requires_grad=True)
    distance = paired_euclidean(a, a.detach())
    assert torch.equal(distance, torch.zeros(4))
    distance.sum().backward()
    assert torch.equal(a.grad, torch.zeros(4, 8))


@BOTH
@pytest.mark.parametrize(("dtype", "expected"), [(torch.bfloat16, torch.float32), (torch.float64, torch.float64)])
def test_computes_in_float32_or_wider(distances, dtype: torch.dtype, expected: torch.dtype) -> None:
    assert distances(torch.ones(2, 3, dtype=dtype), torch.zeros(2, 3, dtype=dtype)).dtype == expected


@BOTH
def test_autocast_does_not_round(distances) -> None:
    torch.manual_seed(0)
    a, b = torch.randn(40, 16), torch.randn(40, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = distances(a, b)
    assert torch.equal(rounded, distances(a, b))


def test_gradient() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(paired_euclidean, (a.requires_grad_(), b.requires_grad_()))
