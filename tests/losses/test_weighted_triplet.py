import math

import pytest
import torch

from pipeline.losses.weighted_triplet import negative_weights, weighted_triplet_loss
from tests.losses.features import objective, random_rows
from tests.losses.uneven import LABELS_1, as_lists, mean, rows

BOTH = pytest.mark.parametrize("released", [False, True])
FORMS = pytest.mark.parametrize(
    "form", [{}, {"square": True}, {"alpha": 0.5, "gamma": 2.0}, {"alpha": 2.0, "gamma": 0.5, "square": True}]
)


def loop(features, labels, released, alpha=1.0, gamma=1.0, square=False):
    values, sums = [], []
    for i, label in enumerate(labels):
        distances = [max(math.dist(features[i], row), 1e-6 if released else 0.0) for row in features]
        positive = [d for d, found in zip(distances, labels, strict=True) if found == label]
        negative = [d for d, found in zip(distances, labels, strict=True) if found != label]
        if not negative:
            continue
        epsilon = 1e-6 if released else 0.0
        up = [math.exp(alpha * (d - max(positive))) for d in positive]
        down = [math.exp(-alpha * d) for d in negative]
        furthest = sum(w * d for w, d in zip(up, positive, strict=True)) / (sum(up) + epsilon)
        nearest = sum(w * d for w, d in zip(down, negative, strict=True)) / (sum(down) + epsilon)
        apart = furthest - nearest
        exponent = gamma * (math.copysign(apart**2, apart) if square else apart)
        if released and square:
            exponent = min(88.0, max(-88.0, exponent))
        values.append(math.log1p(math.exp(exponent)) if exponent < 700 else exponent)
        sums.append(sum(down) / (sum(down) + 1e-6))
    return mean(values), mean(sums)


@BOTH
@FORMS
@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0, 20.0])
@pytest.mark.parametrize("labels", [LABELS_1, LABELS_1 * 0, torch.arange(len(LABELS_1))], ids=["some", "one", "all"])
def test_equals_a_loop(released, form, scale, labels):
    features = rows()[0] * scale
    value, sums = loop(*as_lists(features, labels), released, **form)
    assert weighted_triplet_loss(features, labels, released, **form).item() == pytest.approx(value, rel=1e-9)
    assert negative_weights(features, labels, form.get("alpha", 1.0)).item() == pytest.approx(sums, rel=1e-9)


@BOTH
@FORMS
def test_gradient(released, form):
    features = rows()[0].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: weighted_triplet_loss(x, LABELS_1, released, **form), (features,))


@BOTH
@FORMS
@pytest.mark.parametrize("labels", [LABELS_1, LABELS_1 * 0], ids=["some", "one"])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_the_gradient_is_finite_for_rows_that_are_equal_or_far(released, form, labels, scale):
    features = (rows(torch.float32)[0] * scale).requires_grad_()
    weighted_triplet_loss(features, labels, released, **form).backward()
    assert torch.isfinite(features.grad).all()


def test_the_squared_form_keeps_its_gradient_where_the_released_one_is_clamped():
    features, labels = torch.tensor([[0.0], [30.0], [-1.0]], dtype=torch.float64), torch.tensor([0, 0, 1])
    gradients = {}
    for released in (False, True):
        trained = features.clone().requires_grad_()
        weighted_triplet_loss(trained, labels, released, square=True).backward()
        gradients[released] = trained.grad
    # the first row is much nearer to the other identity than to its own: 29^2 is far above 88
    assert gradients[False][0] < -10 and gradients[False][1] > 10
    assert gradients[True].abs().max() < 1


def test_a_term_hands_its_form_on():
    given = random_rows(torch.float64)
    form = {"alpha": 2.0, "gamma": 0.5, "square": True}
    report = objective({"weighted_triplet": {"released": True, **form}})({"global": given})
    torch.testing.assert_close(report["loss"], weighted_triplet_loss(given.pooled, given.labels, True, **form))
    expected = negative_weights(given.pooled, given.labels, 2.0)
    torch.testing.assert_close(report["weighted_triplet_negative_weights"], expected)


def test_far_apart_the_released_weights_of_negatives_vanish():
    features = rows()[0]
    near, far = (negative_weights(features * scale, LABELS_1).item() for scale in (1, 20))
    assert near > 0.999 and far < 0.01
    exact, released = (weighted_triplet_loss(features * 20, LABELS_1, form).item() for form in (False, True))
    assert released > exact + 10


@BOTH
def test_no_rows(released):
    features = torch.zeros(0, 4, requires_grad=True)
    value = weighted_triplet_loss(features, LABELS_1[:0], released)
    value.backward()
    assert value.item() == 0 and features.grad.shape == (0, 4)


def test_the_term_compares_all_its_modalities_and_measures_the_regime():
    given = random_rows(torch.float64)
    term = {"weighted_triplet": {"weight": 2.0, "modalities": ["visible", "infrared"], "released": True}}
    report = objective(term)({"global": given})
    chosen = torch.tensor([kind in (0, 1) for kind in given.modality])
    features, labels = given.pooled[chosen], given.labels[chosen]
    torch.testing.assert_close(report["loss"], 2 * weighted_triplet_loss(features, labels, True))
    torch.testing.assert_close(report["weighted_triplet_negative_weights"], negative_weights(features, labels))
    everything = objective({"weighted_triplet": {}})({"global": given})["loss"]
    torch.testing.assert_close(everything, weighted_triplet_loss(given.pooled, given.labels))
