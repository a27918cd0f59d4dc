import pytest
import torch

from pipeline.losses.centers import centers_of, first_rows, mean_over
from tests.losses.uneven import LABELS_1, as_lists, center, rows


def test_centers_equal_loops():
    _, wanted, features, labels = rows()
    found, count = centers_of(wanted, features, labels)
    for label, row, number in zip(wanted.tolist(), found, count.tolist(), strict=True):
        assert number == labels.tolist().count(label)
        expected = center(*as_lists(features, labels), label) or [0.0] * features.shape[1]
        assert row.tolist() == pytest.approx(expected)
    assert 0 in count.tolist()


def test_centers_have_a_gradient_and_do_not_round_under_autocast():
    _, wanted, features, labels = rows()
    features.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: centers_of(wanted, x, labels)[0], (features,))
    single = features.detach().float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded, _ = centers_of(wanted, single, labels)
    assert torch.equal(rounded, centers_of(wanted, single, labels)[0])


def test_the_first_row_of_each_identity():
    assert first_rows(LABELS_1).tolist() == [True, False, False, True, False, True, True]
    assert first_rows(LABELS_1.flip(0)).tolist() == [True, True, True, False, True, False, False]


@pytest.mark.parametrize("chosen", [[0, 2], [1], []])
def test_the_mean_over_those_counted_has_no_gradient_for_others(chosen):
    values = torch.tensor([1.0, torch.inf if 1 not in chosen else 5.0, 4.0], requires_grad=True)
    counted = torch.tensor([number in chosen for number in range(3)])
    found = mean_over(values, counted)
    assert found.item() == (sum(values[number].item() for number in chosen) / len(chosen) if chosen else 0)
    found.backward()
    assert values.grad.tolist() == [1 / len(chosen) if number in chosen else 0 for number in range(3)]
