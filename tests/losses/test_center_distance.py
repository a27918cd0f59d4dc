import math

import pytest
import torch

from pipeline.losses.center_distance import center_distance_loss
from tests.losses.features import objective, random_rows
from tests.losses.uneven import as_lists, centers, mean, rows, unit


@pytest.mark.parametrize("unit_centers", [False, True])
def test_equals_a_loop(unit_centers):
    features_1, labels_1, features_2, labels_2 = rows()
    a, b = centers(*as_lists(features_1, labels_1)), centers(*as_lists(features_2, labels_2))
    of = unit if unit_centers else list
    expected = mean([math.dist(of(a[label]), of(b[label])) ** 2 for label in sorted(a.keys() & b.keys())])
    found = center_distance_loss(features_1, labels_1, features_2, labels_2, unit_centers)
    assert found.item() == pytest.approx(expected, rel=1e-9)


def test_it_is_0_where_both_modalities_are_equal():
    features, labels, *_ = rows()
    order = torch.arange(len(labels)).flip(0)
    assert center_distance_loss(features, labels, features[order], labels[order]).item() == pytest.approx(0, abs=1e-24)


@pytest.mark.parametrize(("rows_first", "centers_first"), [(True, False), (False, True), (False, False)])
def test_the_term_divides_rows_or_centers_by_their_length(rows_first, centers_first):
    given = random_rows(torch.float64)
    options = {"unit_length": rows_first, "unit_centers": centers_first}
    found = objective({"center_distance": options})({"global": given})["loss"]
    features = given.pooled / given.pooled.norm(dim=1, keepdim=True) if rows_first else given.pooled
    chosen = [torch.tensor([found == kind for found in given.modality]) for kind in (1, 0)]
    pair = [part[rows] for rows in chosen for part in (features, given.labels)]
    torch.testing.assert_close(found, center_distance_loss(*pair, centers_first))
