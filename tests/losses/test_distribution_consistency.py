from __future__ import annotations

import math

import pytest
import torch

from pipeline.batch import Modality
from pipeline.losses.distribution_consistency import DistributionConsistencyLoss
from pipeline.losses.term import LossContext, Rows
from pipeline.models.norm import norm_layers
from tests.losses.uneven import mean, unit

COUNT = 6
LABELS = torch.arange(COUNT)


def term(**options) -> DistributionConsistencyLoss:
    torch.manual_seed(0)
    context = LossContext(tuple(Modality), COUNT, {"upper": 5, "lower": 5})
    return DistributionConsistencyLoss(DistributionConsistencyLoss.Options(**{"width": 4} | options), context).double()


def features(seed=1) -> torch.Tensor:
    return torch.randn(2, COUNT, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def value(made, one, other) -> torch.Tensor:
    kinds = (Modality.VISIBLE_DERIVED, Modality.INFRARED_DERIVED)
    modality = [int(kind) for kind in kinds for _ in range(len(one))]
    rows = Rows({"pooled": torch.cat([one, other])}, LABELS[: len(one)].repeat(2), modality)
    return made(rows)["visible_derived_infrared_derived"]


def linear(rows, layer):
    bias = [0.0] * layer.out_features if layer.bias is None else layer.bias.tolist()
    weights = list(zip(layer.weight.tolist(), bias, strict=True))
    return [[sum(w * x for w, x in zip(weight, row, strict=True)) + b for weight, b in weights] for row in rows]


def batch_norm(rows, layer):
    columns = []
    for column, weight, bias in zip(zip(*rows, strict=True), layer.weight.tolist(), layer.bias.tolist(), strict=True):
        center = mean(column)
        deviation = math.sqrt(mean([(x - center) ** 2 for x in column]) + 1e-5)
        columns.append([(x - center) / deviation * weight + bias for x in column])
    return [list(row) for row in zip(*columns, strict=True)]


def test_equals_a_loop():
    made, (one, other) = term(), features()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_()
    first, norm_1, _, second, norm_2 = made.layers
    rows = [unit(row) for row in [*one.tolist(), *other.tolist()]]
    hidden = [[max(0.0, x) for x in row] for row in batch_norm(linear(rows, first), norm_1)]
    compared = [unit(row) for row in batch_norm(linear(hidden, second), norm_2)]
    expected = mean([math.dist(compared[row], compared[row + COUNT]) for row in range(COUNT)])
    assert value(made, one, other).item() == pytest.approx(expected, rel=1e-9)


def test_rows_are_compared_in_their_order():
    made, (one, other) = term(), features()
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    torch.testing.assert_close(value(made, one[order], other[order]), value(made, one, other))
    assert abs(value(made, one[order], other) - value(made, one, other)) > 1e-3


def test_the_length_of_features_does_not_matter_unless_asked_for():
    one, other = features()
    torch.testing.assert_close(value(term(), 3 * one, other), value(term(), one, other))
    raw = term(unit_length=False)
    assert abs(value(raw, 3 * one, other) - value(raw, one, other)) > 1e-3


@pytest.mark.parametrize("trained", [True, False])
def test_the_layers_learn_unless_they_are_as_released(trained):
    made, both = term(trained=trained), features().requires_grad_()
    value(made, *both).backward()
    assert both.grad.any() and {parameter.requires_grad for parameter in made.parameters()} == {trained}
    assert len(made.parameter_group(0.1)["params"]) == (len(list(made.parameters())) if trained else 0)
    assert all((parameter.grad is not None) == trained for parameter in made.parameters())


def test_equal_features_are_at_no_distance_and_have_a_finite_gradient():
    made, (one, _) = term(), features()
    both = torch.stack([one, one]).requires_grad_()
    found = value(made, *both)
    found.backward()
    assert found == 0 and both.grad.isfinite().all()
    all_equal = torch.ones(2, COUNT, 5, dtype=torch.float64, requires_grad=True)
    value(term(), *all_equal).backward()
    assert all_equal.grad.isfinite().all()


def test_no_rows_count_nothing_and_rows_without_a_partner_are_refused():
    made, none = term(), torch.zeros(0, 5, requires_grad=True)
    labels = torch.zeros(0, dtype=torch.int64)
    found = made.between(none, labels, none, labels)
    assert found.item() == 0 and found.requires_grad
    with pytest.raises(ValueError, match="^pairs: expected modalities of as many rows; found 3, 2$"):
        made.between(torch.ones(3, 5), labels, torch.ones(2, 5), labels)


def test_its_norms_keep_no_statistics_that_ranks_would_exchange():
    made, both = term(), features()
    assert not norm_layers(made) and not list(made.buffers())
    assert torch.equal(value(made.eval(), *both), value(made.train(), *both))


@pytest.mark.parametrize(("joined", "width"), [(False, 5), (True, 10)])
def test_the_first_layer_is_as_wide_as_what_it_is_of(joined, width):
    assert term(joined=joined).layers[0].in_features == width
