import math

import pytest
import torch

from pipeline.losses.contrastive import contrastive_loss, pair_contrastive_loss
from tests.losses.uneven import as_lists, mean, rows

MARGINS = pytest.mark.parametrize("margin", [0.0, 0.5, 4.0])


@MARGINS
def test_given_pairs_equal_a_loop(margin):
    one, labels_1, other, labels_2 = rows()
    values = [
        math.dist(a, b) ** 2 if y == z else max(0.0, margin - math.dist(a, b)) ** 2
        for a, y, b, z in zip(*as_lists(one, labels_1, other, labels_2), strict=True)
    ]
    found = pair_contrastive_loss(one, other, labels_1 == labels_2, margin)
    assert found.item() == pytest.approx(mean(values) / 2, rel=1e-9)


@MARGINS
def test_all_pairs_equal_a_loop(margin):
    one, labels_1, other, labels_2 = rows()
    matched, others = [], []
    for a, y in zip(*as_lists(one, labels_1), strict=True):
        for b, z in zip(*as_lists(other, labels_2), strict=True):
            distance = math.dist(a, b)
            (matched if y == z else others).append(distance**2 if y == z else max(0.0, margin - distance) ** 2)
    found = contrastive_loss(one, labels_1, other, labels_2, margin)
    assert found.item() == pytest.approx((mean(matched) + mean(others)) / 4, rel=1e-9)


def test_it_is_the_mean_over_pairs_half_of_them_drawn_from_one_identity():
    one, labels_1, other, labels_2 = rows()
    same = labels_1[:, None] == labels_2[None]
    generator = torch.Generator().manual_seed(0)
    drawn = []
    for kind in (same, ~same):
        pairs = kind.nonzero()
        drawn.append(pairs[torch.randint(len(pairs), (40000,), generator=generator)])
    first, second = torch.cat(drawn).T
    sampled = pair_contrastive_loss(one[first], other[second], same[first, second], 3.0)
    assert contrastive_loss(one, labels_1, other, labels_2, 3.0).item() == pytest.approx(sampled.item(), rel=0.02)
