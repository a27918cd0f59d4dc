import math

import pytest
import torch

from pipeline.losses.hetero_center_triplet import hetero_center_triplet_loss
from tests.losses.uneven import as_lists, centers, mean, rows


def loop(a, b, margin):
    """a, b: label -> center, of one modality and of the other."""
    both = sorted(a.keys() & b.keys())
    hinges = []
    for own, other in ((a, b), (b, a)):
        for k in both:
            negatives = [math.dist(own[k], side[j]) for side in (own, other) for j in both if j != k]
            hinges.append(max(0.0, margin + math.dist(own[k], other[k]) - min(negatives)) if negatives else 0.0)
    return mean(hinges)


def loop_of(features_1, labels_1, features_2, labels_2, margin):
    return loop(centers(*as_lists(features_1, labels_1)), centers(*as_lists(features_2, labels_2)), margin)


@pytest.mark.parametrize("margin", [0.0, 0.3, 5.0])
def test_equals_a_loop_and_both_modalities_play_the_same_part(margin):
    one, other = rows()[:2], rows()[2:]
    found = hetero_center_triplet_loss(*one, *other, margin)
    assert found.item() == pytest.approx(loop_of(*one, *other, margin), rel=1e-9)
    assert found > 0 or margin == 0
    torch.testing.assert_close(hetero_center_triplet_loss(*other, *one, margin), found)


def test_the_order_of_rows_does_not_matter():
    features_1, labels_1, features_2, labels_2 = rows()
    order = torch.randperm(len(labels_1), generator=torch.Generator().manual_seed(1))
    found = hetero_center_triplet_loss(features_1[order], labels_1[order], features_2, labels_2, 0.3)
    torch.testing.assert_close(found, hetero_center_triplet_loss(*rows(), 0.3))


@pytest.mark.parametrize("kept", [[], [0], [0, 1]], ids=str)
def test_with_few_identities_in_both_modalities(kept):
    features_1, labels_1, features_2, labels_2 = rows()
    chosen = torch.tensor([label in kept for label in labels_2.tolist()])
    features_1.requires_grad_()
    found = hetero_center_triplet_loss(features_1, labels_1, features_2[chosen], labels_2[chosen], 5.0)
    found.backward()
    expected = loop_of(features_1.detach(), labels_1, features_2[chosen], labels_2[chosen], 5.0)
    assert found.item() == pytest.approx(expected) and (expected > 0) == (len(kept) > 1)
    assert features_1.grad.isfinite().all() and bool(features_1.grad.any()) == (len(kept) > 1)


def test_equal_features_have_a_finite_gradient():
    features = torch.ones(8, 3, requires_grad=True)
    labels = torch.arange(8) // 2
    found = hetero_center_triplet_loss(features, labels, features, labels, 0.3)
    found.backward()
    assert found.item() == pytest.approx(0.3) and features.grad.isfinite().all()
