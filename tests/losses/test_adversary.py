"""The discriminator of modalities: sign, size and arrival of its gradient, its strength over time."""

import math

import pytest
import torch
from torch.nn import functional

from pipeline.batch import Modality
from tests.losses.features import objective, random_rows

BASES = [Modality.VISIBLE, Modality.INFRARED]


def adversary(**options):
    torch.manual_seed(0)
    return objective({"adversary": {"hidden": [7], **options}}).double()


def rows_with_gradient(what="pooled"):
    rows = random_rows()
    parts = {name: part.double() if part.is_floating_point() else part for name, part in rows.parts.items()}
    parts[what] = parts[what].detach().requires_grad_()
    return type(rows)(parts, rows.labels, rows.modality), parts[what]


def discrimination(made, features, modality):
    """The loss row by row."""
    losses = {base: [] for base in BASES}
    for row, of in enumerate(modality):
        base = Modality(of).base
        logits = made.terms["adversary"].discriminator(features[row])
        target = torch.tensor([1.0, 0.0] if base == Modality.VISIBLE else [0.0, 1.0], dtype=torch.float64)
        losses[base].append(functional.binary_cross_entropy_with_logits(logits, target))
    return sum(torch.stack(of_base).mean() for of_base in losses.values())


@pytest.mark.parametrize("of", ["pooled", "embedding"])
def test_value_and_reversed_gradient(of):
    made = adversary(of=of, strength=0.3)
    rows, features = rows_with_gradient(of)
    report = made({"global": rows})
    report["loss"].backward()
    plain = features.detach().clone().requires_grad_()
    expected = discrimination(made, plain, rows.modality)
    torch.testing.assert_close(report["adversary"], expected.detach(), rtol=1e-9, atol=0)
    parameters = [*made.parameters()]
    wanted = torch.autograd.grad(expected, [plain, *parameters])
    torch.testing.assert_close(features.grad, -0.3 * wanted[0], rtol=1e-9, atol=1e-12)
    for parameter, gradient in zip(parameters, wanted[1:], strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-9, atol=1e-12)


def test_gradient_is_minus_the_strength_times_a_finite_difference():
    made = adversary(strength=0.3)
    rows, features = rows_with_gradient()
    made({"global": rows})["loss"].backward()
    step = 1e-6
    for row, column in [(0, 0), (5, 2), (len(features) - 1, 4)]:
        ends = []
        for sign in (1, -1):
            moved = features.detach().clone()
            moved[row, column] += sign * step
            ends.append(discrimination(made, moved, rows.modality).item())
        difference = (ends[0] - ends[1]) / (2 * step)
        assert features.grad[row, column].item() == pytest.approx(-0.3 * difference, rel=1e-4, abs=1e-9)


def test_strength_zero_gives_the_features_no_gradient():
    made = adversary(strength=0.0)
    rows, features = rows_with_gradient()
    made({"global": rows})["loss"].backward()
    assert not features.grad.any()
    assert all(parameter.grad.any() for parameter in made.parameters())


def test_the_strength_grows_along_its_ramp():
    term = adversary(strength=0.5, ramp_steps=2000).terms["adversary"]
    for step, share in [(0, 0.0), (200, 2 / (1 + math.exp(-1)) - 1), (2000, 0.9999092)]:
        term.begin_step(step, 100)
        assert term.strength == pytest.approx(0.5 * share)


def test_one_captured_modality_is_refused():
    with pytest.raises(ValueError, match=r"losses\.adversary\.type: .* needs both captured ones in use"):
        objective({"adversary": {}}, ["visible", "visible_derived"])
