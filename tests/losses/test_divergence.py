import math

import pytest
import torch

from pipeline.losses.divergence import symmetric_divergence


def logits(seed, dtype=torch.float64):
    return 3 * torch.randn(5, 7, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def softmax(row):
    exponentials = [math.exp(value - max(row)) for value in row]
    return [value / sum(exponentials) for value in exponentials]


def loop(logits_q, logits_t):
    total = 0.0
    for row_q, row_t in zip(logits_q.tolist(), logits_t.tolist(), strict=True):
        for q, t in zip(softmax(row_q), softmax(row_t), strict=True):
            total += t * math.log(1e-8 + t / (q + 1e-8)) + q * math.log(1e-8 + q / (t + 1e-8))
    return total / len(logits_q)


@pytest.mark.parametrize("seed", range(3))
def test_equals_a_loop(seed):
    q, t = logits(seed), logits(seed + 10)
    torch.testing.assert_close(symmetric_divergence(q, t).item(), loop(q, t), rtol=1e-12, atol=1e-12)


def test_the_epsilons_are_in_it():
    q, t = torch.tensor([[40.0, 0.0]]).double(), torch.tensor([[0.0, 40.0]]).double()
    found = symmetric_divergence(q, t).item()
    assert found == pytest.approx(loop(q, t), rel=1e-12)
    assert found == pytest.approx(2 * math.log(1e8), rel=1e-6)  # without them it were 80


def test_it_is_nearly_both_directions_of_kullback_and_leibler():
    q, t = logits(0), logits(1)
    log_q, log_t = q.log_softmax(dim=1), t.log_softmax(dim=1)
    expected = ((log_t.exp() - log_q.exp()) * (log_t - log_q)).sum(dim=1).mean()
    torch.testing.assert_close(symmetric_divergence(q, t), expected, rtol=1e-4, atol=1e-6)


def test_it_is_symmetric_and_vanishes_for_equal_predictions():
    q, t = logits(0), logits(1)
    torch.testing.assert_close(symmetric_divergence(q, t), symmetric_divergence(t, q))
    assert abs(symmetric_divergence(q, q + 5).item()) < 1e-6
    assert symmetric_divergence(q, t) > 1


def test_the_gradient_is_that_of_the_value_and_reaches_both():
    q, t = logits(0).requires_grad_(), logits(1).requires_grad_()
    assert torch.autograd.gradcheck(symmetric_divergence, (q, t))
    symmetric_divergence(q, t.detach()).backward()
    assert q.grad.any() and t.grad is None


@pytest.mark.parametrize("other", [0.0, 1e4])
def test_gradients_of_equal_and_of_certain_predictions_are_finite(other):
    q, t = torch.tensor([[0.0, 0.0]], requires_grad=True), torch.tensor([[0.0, other]], requires_grad=True)
    value = symmetric_divergence(q, t)
    value.backward()
    assert value.isfinite() and q.grad.isfinite().all() and t.grad.isfinite().all()


def test_half_precision_is_computed_in_float32():
    q, t = logits(0, torch.bfloat16), logits(1, torch.bfloat16)
    found = symmetric_divergence(q, t)
    assert found.dtype == torch.float32
    assert found == symmetric_divergence(q.float(), t.float())
