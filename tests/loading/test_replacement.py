import numpy as np
import pytest

from pipeline.batch import Modality
from pipeline.loading.replacement import Replacements
from pipeline.loading.sampling import Plan, TrainingTable

VISIBLE, INFRARED = Modality.VISIBLE, Modality.INFRARED


@pytest.fixture()
def table():
    rows = {VISIBLE: [np.array([0, 1, 2]), np.array([3, 4])], INFRARED: [np.array([5]), np.array([6, 7])]}
    return TrainingTable(np.array([11, 12]), rows)


def plan(visible, infrared, labels):
    rows = {VISIBLE: np.array(visible), INFRARED: np.array(infrared)}
    return Plan(rows, np.array(labels), np.zeros((len(labels), 1, 10), np.float32))


def test_without_bad_images_the_plan_stays(table):
    sampled = plan([0, 3], [5, 6], [0, 1])
    assert Replacements(table).apply(sampled) is sampled


def test_a_bad_image_is_replaced_by_the_next_of_its_identity_and_modality(table):
    replacements = Replacements(table)
    replacements.bad |= {2, 6}
    applied = replacements.apply(plan([1, 2, 2, 4], [5, 5, 5, 6], [0, 0, 0, 1]))
    assert applied.rows[VISIBLE].tolist() == [1, 0, 0, 4] and applied.rows[INFRARED].tolist() == [5, 5, 5, 7]
    assert applied.replaced == 3


def test_replacements_do_not_depend_on_the_order_in_which_bad_images_are_met(table):
    for order in ([0, 1], [1, 0]):
        replacements = Replacements(table)
        for bad in order:
            replacements.bad.add(bad)
        assert [replacements.good_row(row, 0, VISIBLE) for row in (0, 1, 2)] == [2, 2, 2]


def test_an_identity_without_a_good_image_is_refused(table):
    replacements = Replacements(table)
    replacements.bad |= {3, 4}
    with pytest.raises(ValueError, match="identity 12: none of its 2 visible images can be decoded"):
        replacements.apply(plan([3], [6], [1]))
