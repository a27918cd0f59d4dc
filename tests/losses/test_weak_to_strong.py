import math

import pytest
import torch

from pipeline.batch import Modality
from pipeline.losses.term import Rows
from pipeline.losses.weak_to_strong import weak_to_strong_loss
from tests.losses.features import objective

USED = (Modality.VISIBLE, Modality.INFRARED, Modality.VISIBLE_DERIVED)


def logits(rows=12, classes=5):
    return torch.randn(rows, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3


def softmax(row):
    exponentials = [math.exp(value) for value in row]
    return [value / sum(exponentials) for value in exponentials]


def test_equals_a_loop_and_its_gradient_is_the_difference_of_predictions():
    student, teacher = logits()[:6].requires_grad_(), logits()[6:].requires_grad_()
    value, slopes = 0.0, []
    for learned, taught in zip(student.tolist(), teacher.tolist(), strict=True):
        q, p = softmax(taught), softmax(learned)
        value -= sum(target * math.log(found) for target, found in zip(q, p, strict=True)) / 6
        slopes.append([(found - target) / 6 for target, found in zip(q, p, strict=True)])
    loss = weak_to_strong_loss(student, teacher)
    loss.backward()
    assert loss.item() == pytest.approx(value, rel=1e-12) and teacher.grad is None
    torch.testing.assert_close(student.grad, torch.tensor(slopes, dtype=torch.float64))


def test_no_rows():
    student = torch.zeros(0, 4, requires_grad=True)
    value = weak_to_strong_loss(student, torch.zeros(0, 4))
    value.backward()
    assert value.item() == 0 and student.grad.shape == (0, 4)


def test_the_term_compares_a_modality_with_its_derivative():
    found = logits()
    rows = Rows({"logits": found}, torch.arange(4).repeat(3), sum(((int(one),) * 4 for one in USED), ()))
    names = [modality.key for modality in USED]
    report = objective({"weak_to_strong": {}}, names)({"global": rows})
    torch.testing.assert_close(report["loss"], weak_to_strong_loss(found[:4], found[8:]))
    turned = objective({"weak_to_strong": {"student": "visible_derived", "teacher": "visible"}}, names)
    torch.testing.assert_close(turned({"global": rows})["loss"], weak_to_strong_loss(found[8:], found[:4]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"student": "colour"}, r"student: modality: expected one of visible, .*; found 'colour'"),
        ({"teacher": "infrared_derived"}, r"teacher: infrared_derived is not in use"),
        ({"teacher": "infrared"}, r"teacher: expected the other version of visible images; found infrared"),
        ({"teacher": "visible"}, r"teacher: expected the other version of visible images; found visible"),
    ],
)
def test_pairs_that_are_none(options, message):
    with pytest.raises(ValueError, match=rf"^losses\.weak_to_strong\.{message}"):
        objective({"weak_to_strong": options}, [modality.key for modality in USED])
