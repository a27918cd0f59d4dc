from __future__ import annotations

import pytest
import torch

from pipeline.losses.distance import euclidean, paired_euclidean, pairwise_euclidean, to_unit_length


def _loop(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.tensor(
        [[sum((x - y) ** 2 for x, y in zip(i, j, strict=True)) ** 0.5 for j in b.tolist()] for i in a.tolist()]
    )


def _paired(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The distances of all pairs, by `paired_euclidean`."""
    return torch.stack([paired_euclidean(row.expand_as(b), b) for row in a])


ALL = pytest.mark.parametrize("distances", [euclidean, _paired, pairwise_euclidean])


@ALL
def test_equals_a_loop(distances) -> None:
    torch.manual_seed(0)
    a, b = torch.randn(5, 7), torch.randn(3, 7)
    torch.testing.assert_close(distances(a, b), _loop(a, b))


@ALL
def test_close_rows_far_from_the_origin_keep_their_digits(distances) -> None:
    a = torch.full((30, 64), 100.0)  # more than 25 rows, where torch.cdist would turn to inner products
    b = a.clone()
    b[:, 0] += 0.0625
    torch.testing.assert_close(distances(a, b), torch.full((30, 30), 0.0625))


@pytest.mark.parametrize("distances", [paired_euclidean, pairwise_euclidean])
def test_zero_distance_has_value_and_gradient_zero(distances) -> None:
    a = torch.randn(1, 8, requires_grad=True).repeat(4, 1)
    a.retain_grad()
    distance = distances(a, a.detach())
    assert not distance.any()
    distance.sum().backward()
    assert torch.equal(a.grad, torch.zeros(4, 8))


def test_the_gradient_of_near_rows_far_from_the_origin_keeps_its_digits() -> None:
    base = torch.randn(1, 64, generator=torch.Generator().manual_seed(0)) + 20
    rows = base + 1e-2 * torch.randn(12, 64, generator=torch.Generator().manual_seed(1))
    gradients = []
    for kind in (torch.float32, torch.float64):
        a = rows.to(kind).requires_grad_()
        gradients.append(torch.autograd.grad(pairwise_euclidean(a, a).square().sum(), a)[0].double())
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)


@ALL
@pytest.mark.parametrize(("dtype", "expected"), [(torch.bfloat16, torch.float32), (torch.float64, torch.float64)])
def test_computes_in_float32_or_wider(distances, dtype: torch.dtype, expected: torch.dtype) -> None:
    assert distances(torch.ones(2, 3, dtype=dtype), torch.zeros(2, 3, dtype=dtype)).dtype == expected


@ALL
def test_autocast_does_not_round(distances) -> None:
    torch.manual_seed(0)
    a, b = torch.randn(40, 16), torch.randn(40, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = distances(a, b)
    assert torch.equal(rounded, distances(a, b))


@pytest.mark.parametrize("distances", [paired_euclidean, pairwise_euclidean])
def test_gradient(distances) -> None:
    torch.manual_seed(0)
    a, b = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(distances, (a.requires_grad_(), b.requires_grad_()))


def test_the_gradient_of_all_pairs_equals_that_of_their_differences() -> None:
    torch.manual_seed(0)
    rows = [torch.randn(count, 6, dtype=torch.float64, requires_grad=True) for count in (5, 3)]
    weights = torch.randn(5, 3, dtype=torch.float64)
    differences = (rows[0][:, None] - rows[1][None]).norm(dim=2)
    expected = torch.autograd.grad((weights * differences).sum(), rows)
    torch.testing.assert_close(torch.autograd.grad((weights * pairwise_euclidean(*rows)).sum(), rows), expected)


@pytest.mark.parametrize("rows", [(0, 3), (3, 0), (0, 0)])
def test_no_rows_have_no_distances_and_a_gradient_of_zero(rows) -> None:
    a, b = (torch.randn(count, 4, requires_grad=True) for count in rows)
    distance = pairwise_euclidean(a, b)
    assert distance.shape == rows
    distance.sum().backward()
    assert not a.grad.any() and not b.grad.any()


def test_unit_length_and_its_gradient() -> None:
    torch.manual_seed(0)
    rows = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    unit = to_unit_length(rows)
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(unit * rows.norm(dim=1, keepdim=True), rows)
    assert torch.autograd.gradcheck(to_unit_length, (rows,))
    assert to_unit_length(torch.ones(1, 4, dtype=torch.bfloat16)).dtype == torch.float32


def test_a_row_of_zeros_has_no_direction_and_gradient_zero() -> None:
    rows = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    unit = to_unit_length(rows)
    assert torch.equal(unit.detach(), torch.tensor([[0.0, 0.0], [0.6, 0.8]]))
    unit.sum().backward()
    assert torch.equal(rows.grad[0], torch.zeros(2)) and torch.isfinite(rows.grad).all()
