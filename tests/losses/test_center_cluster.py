import math

import pytest
import torch

from pipeline.losses.center_cluster import center_cluster_loss
from tests.losses.features import objective, random_rows
from tests.losses.uneven import LABELS_1, as_lists, centers, mean, rows


def loop(features, labels, margin):
    found = centers(features, labels)
    pull = mean([math.dist(row, found[label]) for row, label in zip(features, labels, strict=True)])
    push = [max(margin - math.dist(found[k], found[m]), 0) for k in found for m in found if k != m]
    return pull, mean(push)


@pytest.mark.parametrize("scale", [0.1, 1.0])
@pytest.mark.parametrize("labels", [LABELS_1, LABELS_1 * 0, torch.arange(len(LABELS_1))], ids=["some", "one", "all"])
def test_equals_a_loop(scale, labels):
    features = rows()[0] * scale
    found = center_cluster_loss(features, labels, 1.5)
    pull, push = loop(*as_lists(features, labels), 1.5)
    assert (found["pull"].item(), found["push"].item()) == pytest.approx((pull, push), rel=1e-9)


def test_gradient():
    features = (rows()[0] * 0.5).requires_grad_()
    mixed = LABELS_1.clamp(max=1)  # without a row at its own center, where the distance has an edge
    assert torch.autograd.gradcheck(lambda x: sum(center_cluster_loss(x, mixed, 3.0).values()), (features,))


@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_the_gradient_is_finite_for_rows_that_are_equal_or_far(scale):
    features = (rows(torch.float32)[0] * scale).requires_grad_()
    sum(center_cluster_loss(features, LABELS_1, 0.7).values()).backward()
    assert torch.isfinite(features.grad).all()


def test_no_rows():
    features = torch.zeros(0, 4, requires_grad=True)
    total = sum(center_cluster_loss(features, LABELS_1[:0], 0.7).values())
    total.backward()
    assert total.item() == 0 and features.grad.shape == (0, 4)


def test_the_term_averages_its_modalities_together_and_reports_both_parts():
    given = random_rows(torch.float64)
    report = objective({"center_cluster": {"modalities": ["visible", "infrared"], "margin": 2.0}})({"global": given})
    chosen = torch.tensor([kind in (0, 1) for kind in given.modality])
    expected = center_cluster_loss(given.pooled[chosen], given.labels[chosen], 2.0)
    for part, value in expected.items():
        torch.testing.assert_close(report[f"center_cluster_{part}"], value)
    torch.testing.assert_close(report["loss"], expected["pull"] + expected["push"])
