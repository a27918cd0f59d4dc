import pytest
import torch
from torch import nn

from pipeline.losses.image_losses import gradient_penalty, least_squares, mean_absolute


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def exactly(found, expected):
    torch.testing.assert_close(found.item(), float(expected), rtol=1e-12, atol=1e-12)


def mean_square(outputs, target):
    values = outputs.flatten().tolist()
    return sum((value - target) ** 2 for value in values) / len(values)


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_least_squares_equals_a_loop(target):
    one, other = random(2, 1, 4, 3), random(2, 1, 2, 1, seed=1)
    exactly(least_squares(one, target), mean_square(one, target))
    exactly(least_squares([one, other], target), mean_square(one, target) + mean_square(other, target))
    exactly(least_squares([one], target), mean_square(one, target))


def test_mean_absolute_equals_a_loop():
    a, b = random(2, 3, 4, 5), random(2, 3, 4, 5, seed=1)
    differences = [abs(x - y) for x, y in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True)]
    exactly(mean_absolute(a, b), sum(differences) / len(differences))


def test_mean_absolute_pulls_both_and_has_no_gradient_where_they_are_equal():
    a, b = (torch.tensor(values, requires_grad=True) for values in ([1.0, 2.0], [1.0, 5.0]))
    mean_absolute(a, b).backward()
    assert a.grad.tolist() == [0, -0.5] and b.grad.tolist() == [0, 0.5]


def test_mean_absolute_refuses_what_would_be_broadcast():
    with pytest.raises(ValueError, match=r"^b: expected shape \(2, 3\), that of a; found \(2, 1\)$"):
        mean_absolute(torch.ones(2, 3), torch.ones(2, 1))


@pytest.mark.parametrize("loss", [lambda x: least_squares(x, 1.0), lambda x: mean_absolute(x, torch.zeros_like(x))])
def test_half_precision_is_summed_in_float32(loss):
    values = torch.full((1, 1, 300, 300), 2.0).half()  # the sum of 90,000 squares is beyond what half precision has
    found = loss(values)
    assert found.dtype == torch.float32
    assert found.item() in (1.0, 2.0)


@pytest.fixture
def judge():
    """A discriminator of smooth layers, in float64."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 1, 2, 2)).double()


def penalty(judge, images, weight=0.01):
    images = images.clone().requires_grad_()
    return gradient_penalty(judge(images), images, weight)


def test_the_penalty_equals_finite_differences(judge):
    images, by, total = random(2, 3, 6, 4), 1e-5, 0.0
    for place in range(images.numel()):
        step = torch.zeros_like(images)
        step.view(-1)[place] = by
        total += ((judge(images + step).sum() - judge(images - step).sum()) / (2 * by)).item() ** 2
    assert penalty(judge, images).item() == pytest.approx(0.01 * total / 2, rel=1e-8)
    assert penalty(judge, images, 3.0).item() == pytest.approx(3 * total / 2, rel=1e-8)


def test_the_gradient_of_the_penalty_equals_finite_differences(judge):
    images, by, weight = random(2, 3, 6, 4), 1e-5, judge[0].weight
    (found,) = torch.autograd.grad(penalty(judge, images), weight)
    for place in (0, 7, 50):
        values = []
        for step in (by, -by):
            with torch.no_grad():
                weight.view(-1)[place] += step
            values.append(penalty(judge, images).item())
            with torch.no_grad():
                weight.view(-1)[place] -= step
        assert found.flatten()[place].item() == pytest.approx((values[0] - values[1]) / (2 * by), rel=1e-6)


def test_the_penalty_of_several_sizes_is_the_sum_of_theirs(judge):
    images = random(2, 3, 6, 4).requires_grad_()
    small = nn.functional.avg_pool2d(images, 1, stride=1)
    both = gradient_penalty([judge(images), 2 * judge(small)], images)
    exactly(both, (1 + 4) * penalty(judge, images.detach()).item())


def test_the_penalty_needs_images_with_a_gradient(judge):
    images = random(2, 3, 6, 4)
    with pytest.raises(
        ValueError, match="^images: expected ones that require a gradient; found a tensor that doesn't$"
    ):
        gradient_penalty(judge(images), images)
