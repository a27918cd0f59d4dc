"""Losses and modules equal the public code of their methods, in value and gradient."""

import pytest
import torch

from tests.losses.published import QUANTITIES, table
from tests.losses.published_case import FILES, Quantity, deviation, read

CASES = [
    pytest.param(quantity, case, id=f"{quantity.name}-{case}") for quantity in QUANTITIES for case in quantity.cases()
]


@pytest.mark.parametrize(("quantity", "case"), CASES)
def test_value_and_gradients_equal_those_of_public_code(quantity, case):
    value, gradient = quantity.deviations(case)
    assert value < quantity.tolerance and gradient < quantity.tolerance


def test_every_quantity_has_a_case():
    assert [quantity.name for quantity in QUANTITIES if not quantity.cases()] == []


def test_every_file_says_what_it_is_and_has_its_line():
    lines = (FILES / "README.md").read_text()
    for file in FILES.glob("*.npz"):
        assert len(str(read(file.stem)["about"])) > 50 and f"| {file.stem} |" in lines


def test_a_wrong_value_and_a_wrong_gradient_are_seen():
    right = next(quantity for quantity in QUANTITIES if quantity.name == "gem_p3_out")
    wrong = Quantity(right.file, right.name, lambda case: right.ours(case) * (1 + 1e-6), {})
    assert wrong.deviations(wrong.cases()[0])[0] == pytest.approx(1e-6, rel=1e-3)
    right = next(quantity for quantity in QUANTITIES if quantity.name == "wrt")

    def steeper(case):
        value = right.ours(case)
        return value + 1e-6 * (value - value.detach())

    value, gradient = Quantity(right.file, right.name, steeper, right.gradients).deviations(right.cases()[0])
    assert value < 1e-9 and gradient == pytest.approx(1e-6, rel=1e-3)
    with pytest.raises(AssertionError, match="expected the shape"):
        deviation(torch.zeros(2), torch.zeros(3))


def test_the_table_has_a_line_for_each_quantity():
    lines = list(table(QUANTITIES[:2]))
    assert [line.split()[1] for line in lines] == ["quantity", *(quantity.name for quantity in QUANTITIES[:2])]
    assert all(float(number) < 1e-9 for line in lines[1:] for number in line.split()[-2:])
