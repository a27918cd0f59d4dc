"""Classifiers of each modality: values and gradients by loops, and moving averages over the steps."""

import math

import pytest
import torch

from pipeline.batch import CAPTURED, MODALITY_NAMES, Modality
from pipeline.losses.term import Rows
from tests.losses.features import objective, random_rows


def made(modalities=MODALITY_NAMES, **options):
    torch.manual_seed(0)
    term = objective({"modality_learning": options}, modalities).double().terms["modality_learning"]
    for base in CAPTURED:
        term.average_of(base).normal_()
    return term


def log_softmax(row):
    total = math.log(sum(math.exp(value) for value in row))
    return [value - total for value in row]


def logits(weight, row):
    return [sum(w * x for w, x in zip(line, row, strict=True)) for line in weight.tolist()]


def loop(term, rows):
    specific, divergences = {base: [] for base in CAPTURED}, []
    for row, label, kind in zip(rows.embedding.tolist(), rows.labels.tolist(), rows.modality, strict=True):
        base = Modality(kind).base
        log_p = log_softmax(logits(term.classifiers[base.key].weight, row))
        log_q = log_softmax(logits(term.average_of(base.other), row))
        specific[base].append(-log_p[label])
        divergences.append(sum(math.exp(p) * (p - q) for p, q in zip(log_p, log_q, strict=True)))
    return sum(sum(own) / len(own) for own in specific.values() if own), sum(divergences) / len(divergences)


@pytest.mark.parametrize("kinds", [MODALITY_NAMES, ["visible", "visible_derived"]], ids=["both", "one"])
def test_equals_a_loop(kinds):
    term, rows = made(divergence=3.0), random_rows(torch.float64)
    if len(kinds) == 2:  # the rows of one captured modality alone
        rows = type(rows)(rows.parts, rows.labels, [kind // 2 * 2 for kind in rows.modality])
    parts = term(rows)
    specific, divergence = loop(term, rows)
    assert parts["specific"].item() == pytest.approx(specific, rel=1e-9)
    assert parts["divergence"].item() == pytest.approx(3.0 * divergence, rel=1e-9)


def test_the_gradient_passes_through_the_own_prediction_alone():
    term, rows = made(), random_rows(torch.float64)
    features = rows.embedding.clone().requires_grad_()
    term(type(rows)({"embedding": features}, rows.labels, rows.modality))["divergence"].backward()
    expected = torch.zeros_like(features)
    for row, kind in enumerate(rows.modality):
        base = Modality(kind).base
        weight, one = term.classifiers[base.key].weight.detach(), features[row].detach()
        p, other = (weight @ one).softmax(0), (term.average_of(base.other) @ one).log_softmax(0)
        apart = p.log() - other
        expected[row] = 2.5 / len(features) * weight.T @ (p * (apart - (p * apart).sum()))
    torch.testing.assert_close(features.grad, expected)


def test_averages_start_as_the_classifiers_and_move_before_each_step():
    term = objective({"modality_learning": {"rate": 0.2, "constant_epochs": 2}}).double().terms["modality_learning"]
    classifier, average = term.classifiers["visible"].weight, term.average_of(Modality.VISIBLE)
    assert torch.equal(classifier, average) and average.data_ptr() != classifier.data_ptr()
    expected = average.clone()
    # two steps an epoch: the rate falls from the third epoch on
    for step, rate in enumerate([0.2, 0.2, 0.2, 0.2, 0.4 / 3, 0.4 / 3, 0.1]):
        with torch.no_grad():
            classifier.normal_()
        term.begin_step(step, 2)
        expected = (1 - rate) * expected + rate * classifier.detach()
        torch.testing.assert_close(term.average_of(Modality.VISIBLE), expected)


def test_the_batches_of_a_step_leave_the_averages_as_they_are():
    term, rows = made(), random_rows(torch.float64)
    before = [term.average_of(base).clone() for base in CAPTURED]
    for _ in range(2):
        sum(term(rows).values()).backward()
    assert all(torch.equal(term.average_of(base), one) for base, one in zip(CAPTURED, before, strict=True))


def test_averages_are_kept_and_not_trained():
    term = made()
    assert {"average_visible", "average_infrared"} <= term.state_dict().keys()
    trained = {name for name, parameter in term.named_parameters() if parameter.requires_grad}
    assert trained == {"classifiers.visible.weight", "classifiers.infrared.weight"}
    assert term.parameter_group(0.3)["lr"] == 0.3


def test_one_captured_modality_is_refused():
    with pytest.raises(ValueError, match=r"^losses\.modality_learning\.type: .* needs both captured modalities in use"):
        made(["visible", "visible_derived"])


def test_no_rows_count_nothing():
    term, rows = made(), random_rows(torch.float64)
    embedding = rows.embedding[:0].clone().requires_grad_()
    parts = term(Rows({"embedding": embedding}, rows.labels[:0], ()))
    assert [part.item() for part in parts.values()] == [0, 0] and all(part.requires_grad for part in parts.values())
