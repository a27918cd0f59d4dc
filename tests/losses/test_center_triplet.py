import math

import pytest
import torch

from pipeline.losses.center_triplet import center_triplet_loss
from tests.losses.uneven import as_lists, centers, mean, rows


def distance_of(kind, a, b):
    if kind == "euclidean":
        return lambda k, j: math.dist(a[k], b[j])

    def released(k, j):
        product = sum(x * y for x, y in zip(a[k], b[j], strict=True))
        return math.sqrt(max(math.hypot(*a[j]) ** 2 + math.hypot(*b[k]) ** 2 - 2 * product, 1e-12))

    return released


def one_direction(a, b, margin, kind):
    """a, b: label -> center, of one modality and of the other."""
    both = sorted(a.keys() & b.keys())
    distance = distance_of(kind, a, b)
    hinges = []
    for k in both:
        negatives = [min(distance(k, j), distance(j, k)) for j in both if j != k]
        hinges.append(max(0.0, margin + distance(k, k) - min(negatives)) if negatives else 0.0)
    return mean(hinges)


@pytest.mark.parametrize("kind", ["euclidean", "released"])
@pytest.mark.parametrize("margin", [0.0, 0.5, 5.0])
def test_equals_a_loop(margin, kind):
    features_1, labels_1, features_2, labels_2 = rows()
    a, b = centers(*as_lists(features_1, labels_1)), centers(*as_lists(features_2, labels_2))
    # the released distance from b to a has its lengths at each other's place as well
    expected = one_direction(a, b, margin, kind) + one_direction(b, a, margin, kind)
    found = center_triplet_loss(features_1, labels_1, features_2, labels_2, margin, kind)
    assert found.item() == pytest.approx(expected, rel=1e-9)
    assert expected > 0 or margin == 0


def test_the_released_distance_is_euclidean_between_centers_of_one_length():
    features_1, _, features_2, _ = rows()
    labels = torch.arange(len(features_1))
    a, b = (features / features.norm(dim=1, keepdim=True) for features in (features_1, features_2))
    exact, released = (center_triplet_loss(a, labels, b, labels, 0.5, kind) for kind in ("euclidean", "released"))
    torch.testing.assert_close(exact, released)
    a = a * (1 + labels[:, None])
    exact, released = (center_triplet_loss(a, labels, b, labels, 0.5, kind) for kind in ("euclidean", "released"))
    assert abs(exact - released) > 0.1
