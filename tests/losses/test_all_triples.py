import pytest
import torch

from pipeline.losses.all_triples import all_triples_hinge
from pipeline.losses.cross import cross_modality_loss
from tests.losses.uneven import rows


def loop(distance, same, margin, reduction):
    """Differentiable with respect to the distances."""
    anchors = []
    for row, is_same in zip(distance, same, strict=True):
        hinges = [torch.relu(margin + p - n) for p in row[is_same] for n in row[~is_same]]
        if hinges:
            anchors.append(torch.stack(hinges).mean())
    total = torch.stack(anchors).sum()
    return total / len(anchors) if reduction == "mean" else total


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("margin", [0.0, 0.3, 5.0])
@pytest.mark.parametrize("seed", range(3))
def test_value_and_gradient_equal_a_loop_over_triples(margin, reduction, seed):
    generator = torch.Generator().manual_seed(seed)
    distance = torch.rand(8, 11, dtype=torch.float64, generator=generator, requires_grad=True)
    same = torch.rand(8, 11, generator=generator) < 0.3
    same[3], same[4] = True, False  # without a negative, without a positive
    found, expected = (each(distance, same, margin, reduction) for each in (all_triples_hinge, loop))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(*(torch.autograd.grad(value, distance)[0] for value in (found, expected)))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_mdl_of_all_triples_equals_a_loop_in_both_directions(reduction):
    features_1, labels_1, features_2, labels_2 = rows()
    between, same = torch.cdist(features_1, features_2), labels_1[:, None] == labels_2[None]
    expected = loop(between, same, 1.4, reduction) + loop(between.T, same.T, 1.4, reduction)
    found = cross_modality_loss(features_1, labels_1, features_2, labels_2, 1.4, reduction, "all")
    torch.testing.assert_close(found, expected)
    assert found < cross_modality_loss(features_1, labels_1, features_2, labels_2, 1.4, reduction)
