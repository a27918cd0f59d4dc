import pytest
import torch

from pipeline.losses.cosine_triplet import cosine_triplet, pulled_cosine_triplet
from tests.losses.uneven import LABELS_1, as_lists, mean, rows, unit

LOSSES = pytest.mark.parametrize("loss", [cosine_triplet, pulled_cosine_triplet])


def cosine(a, b):
    return sum(x * y for x, y in zip(unit(a), unit(b), strict=True))


def hardest(anchors, labels, others, other_labels):
    """For each anchor that has both: the cosines of its hardest negative and of its hardest positive."""
    found, candidates = [], list(zip(*as_lists(others, other_labels), strict=True))
    for anchor, label in zip(*as_lists(anchors, labels), strict=True):
        cosines = [(cosine(anchor, other), its == label) for other, its in candidates]
        positives, negatives = ([value for value, same in cosines if same == wanted] for wanted in (True, False))
        if positives and negatives:
            found.append((max(negatives), min(positives)))
    return found


@pytest.mark.parametrize("margin", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_equals_a_loop(margin, seed):
    batch = rows(seed=seed)
    hinges = [max(0.0, margin + n - p) for n, p in hardest(*batch)]
    assert len(hinges) == len(LABELS_1) - 1  # one identity is in the first modality alone
    assert cosine_triplet(*batch, margin).item() == pytest.approx(mean(hinges), rel=1e-12)


@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_the_pulled_one_equals_a_loop(margin):
    batch = rows()
    values = [max(0.0, margin + n - p) + (1 + n) ** 2 + (1 - p) ** 2 for n, p in hardest(*batch)]
    assert pulled_cosine_triplet(*batch, margin).item() == pytest.approx(mean(values), rel=1e-12)


@pytest.mark.parametrize(("loss", "margin"), [(cosine_triplet, 1.0), (pulled_cosine_triplet, 0.5)])
def test_margins_are_the_published_ones(loss, margin):
    assert loss(*rows()) == loss(*rows(), margin)


@LOSSES
def test_the_gradient_is_that_of_the_value(loss):
    features_1, labels_1, features_2, labels_2 = rows()
    features = [features_1.requires_grad_(), features_2.requires_grad_()]
    assert torch.autograd.gradcheck(lambda one, two: loss(one, labels_1, two, labels_2), features)


@LOSSES
@pytest.mark.parametrize("value", [0.0, 0.7])
def test_gradients_of_equal_features_are_finite(loss, value):
    features = torch.full((4, 5), value, requires_grad=True)
    labels = torch.tensor([0, 0, 1, 1])
    loss(features, labels, features, labels).backward()
    assert features.grad.isfinite().all()


@LOSSES
@pytest.mark.parametrize("labels", [[7, 8], [0, 0]])
def test_no_anchor_left_gives_zero_and_a_gradient_of_zero(loss, labels):
    """No positives, and no negatives."""
    anchors, others = (torch.rand(2, 4, requires_grad=True) for _ in range(2))
    value = loss(anchors, torch.tensor([0, 0]), others, torch.tensor(labels))
    value.backward()
    assert value.item() == 0
    assert not anchors.grad.any() and not others.grad.any()


@LOSSES
@pytest.mark.parametrize("counts", [(0, 0), (0, 3), (3, 0)])
def test_no_rows(loss, counts):
    anchors, others = (torch.rand(count, 4, requires_grad=True) for count in counts)
    labels = (torch.zeros(count, dtype=torch.int64) for count in counts)
    value = loss(anchors, next(labels), others, next(labels))
    value.backward()
    assert value.item() == 0


@LOSSES
def test_lengths_of_features_do_not_matter(loss):
    features_1, labels_1, features_2, labels_2 = rows()
    lengths = torch.arange(1, 8)[:, None]
    found = loss(features_1 * lengths, labels_1, features_2 / lengths, labels_2)
    torch.testing.assert_close(found, loss(features_1, labels_1, features_2, labels_2))


@LOSSES
def test_half_precision_and_autocast_do_not_round_it(loss):
    features_1, labels_1, features_2, labels_2 = rows(torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(features_1, labels_1, features_2, labels_2)
    assert found.dtype == torch.float32
    assert found == loss(features_1.float(), labels_1, features_2.float(), labels_2)
