import math

import pytest
import torch

from pipeline.losses.bidirectional_ranking import bidirectional_ranking_loss
from pipeline.losses.center_ranking import center_ranking_loss
from tests.losses.uneven import as_lists, center, mean, rows


def one_direction(anchors, anchor_labels, others, labels, margin):
    hinges = []
    for anchor, label in zip(anchors, anchor_labels, strict=True):
        middle = center(others, labels, label)
        negatives = [math.dist(anchor, row) for row, found in zip(others, labels, strict=True) if found != label]
        if middle is not None and negatives:
            hinges.append(max(0.0, margin + math.dist(anchor, middle) - min(negatives)))
    return mean(hinges)


@pytest.mark.parametrize("margin", [0.0, 0.5, 5.0])
def test_equals_a_loop(margin):
    features_1, labels_1, features_2, labels_2 = rows()
    first, second = as_lists(features_1, labels_1), as_lists(features_2, labels_2)
    expected = one_direction(*first, *second, margin) + one_direction(*second, *first, margin)
    found = center_ranking_loss(features_1, labels_1, features_2, labels_2, margin)
    assert expected > 0 and found.item() == pytest.approx(expected, rel=1e-9)


def test_with_one_image_of_an_identity_it_is_the_ranking_of_rows():
    features_1, _, features_2, _ = rows()
    labels = torch.arange(len(features_1))
    pair = features_1, labels, features_2, labels
    found, of_rows = center_ranking_loss(*pair, 0.5), bidirectional_ranking_loss(*pair, 0.5, 0.0, 0.0)
    torch.testing.assert_close(found, of_rows)
