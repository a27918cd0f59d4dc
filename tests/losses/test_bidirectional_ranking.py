import math

import pytest

from pipeline.losses.bidirectional_ranking import bidirectional_ranking_loss
from tests.losses.uneven import as_lists, mean, rows


def one_direction(anchors, anchor_labels, others, labels, margin, intra_margin, intra_weight):
    hinges = []
    for anchor, label in zip(anchors, anchor_labels, strict=True):
        positives = [row for row, found in zip(others, labels, strict=True) if found == label]
        negatives = [row for row, found in zip(others, labels, strict=True) if found != label]
        if positives and negatives:
            positive = max(positives, key=lambda row: math.dist(anchor, row))
            negative = min(negatives, key=lambda row: math.dist(anchor, row))
            across = max(0.0, margin + math.dist(anchor, positive) - math.dist(anchor, negative))
            hinges.append(across + intra_weight * max(0.0, intra_margin - math.dist(positive, negative)))
    return mean(hinges)


@pytest.mark.parametrize("options", [(0.5, 0.1, 0.1), (0.0, 3.0, 0.7), (5.0, 4.0, 0.0)])
def test_equals_a_loop(options):
    features_1, labels_1, features_2, labels_2 = rows()
    first, second = as_lists(features_1, labels_1), as_lists(features_2, labels_2)
    expected = one_direction(*first, *second, *options) + one_direction(*second, *first, *options)
    found = bidirectional_ranking_loss(features_1, labels_1, features_2, labels_2, *options)
    assert expected > 0 and found.item() == pytest.approx(expected, rel=1e-9)


def test_the_second_hinge_matters():
    one, other = (bidirectional_ranking_loss(*rows(), 0.5, 4.0, weight).item() for weight in (0.0, 1.0))
    assert other > one
