"""Classifiers of each modality, and the divergence by which the shared one teaches them."""

import math

import pytest
import torch

from pipeline.batch import Modality
from pipeline.losses.distillation import teaching_loss
from pipeline.losses.identity import identity_loss
from tests.losses.features import objective, random_rows


def by_loops(student, teacher, temperature):
    def softmax(logits):
        powers = [math.exp(value / temperature) for value in logits]
        return [power / sum(powers) for power in powers]

    total = 0.0
    for of_student, of_teacher in zip(student.tolist(), teacher.tolist(), strict=True):
        for p, q in zip(softmax(of_student), softmax(of_teacher), strict=True):
            total += (q + 1e-7) * (math.log(q + 1e-7) - math.log(p))
    return temperature**2 * total / len(student)


def test_teaching_loss_by_loops():
    student, teacher = torch.randn(2, 5, 4, dtype=torch.float64)
    assert teaching_loss(student, teacher, 3.0).item() == pytest.approx(by_loops(student, teacher, 3.0), rel=1e-12)


def test_the_teacher_gets_no_gradient_and_equal_classifiers_teach_nothing():
    student, teacher = torch.randn(2, 5, 4, dtype=torch.float64).unbind()
    student, teacher = student.requires_grad_(), teacher.requires_grad_()
    teaching_loss(student, teacher, 3.0).backward()
    assert teacher.grad is None and student.grad.abs().sum() > 0
    same = student.detach().clone().requires_grad_()
    value = teaching_loss(same, same.detach(), 3.0)
    value.backward()
    assert abs(value.item()) < 1e-4
    assert same.grad.abs().max() < 1e-6


@pytest.mark.parametrize("teacher", ["shared", "ensemble"])
def test_the_term_modality_by_modality(teacher):
    rows = random_rows()
    made = objective({"collaborative": {"teacher": teacher, "teaching": 0.5}})
    classifiers = made.terms["collaborative"].classifiers
    torch.nn.init.normal_(classifiers["visible"].weight)
    specific, teaching = 0.0, 0.0
    for modality in Modality:
        own = rows.of(modality)
        logits = {base: own.embedding @ classifiers[base].weight.T for base in ("visible", "infrared")}
        mine = logits[modality.base.key]
        taught = own.logits if teacher == "shared" else (own.logits + logits["visible"] + logits["infrared"]) / 3
        specific += identity_loss(mine, own.labels)
        teaching += 0.5 * teaching_loss(mine, taught, 3.0)
    found = made({"global": rows})
    torch.testing.assert_close(found["collaborative_specific"], specific)
    torch.testing.assert_close(found["collaborative_teaching"], teaching)
    torch.testing.assert_close(found["loss"], specific + teaching)


def test_rows_of_one_modality_alone():
    made = objective({"collaborative": {}})
    rows = random_rows()
    alone = made({"global": rows.of(Modality.VISIBLE)})
    assert alone["loss"].isfinite()


def test_features_of_several_widths_are_refused():
    with pytest.raises(ValueError, match=r"losses\.collaborative\.features: expected those of one width; found a, b"):
        objective({"collaborative": {}}, widths={"a": 5, "b": 6})
