"""HCML's formulas against loops over identities and images, and their gradients against differences."""

import math

import pytest
import torch

from pipeline.evaluation.hcml.objective import Classes, between_modalities, distances, logistic, within_modality
from tests.evaluation.hcml.people import people


def matrices(count, width=12):
    generator = torch.Generator().manual_seed(1)
    return [
        torch.eye(width) + 0.2 * torch.randn(width, width, generator=generator, dtype=torch.float64)
        for _ in range(count)
    ]


def means(features, labels):
    return [features[labels == label].mean(dim=0) for label in range(int(labels.max()) + 1)]


def loop_between(visible, infrared, labels, v, t, metric, threshold):
    pairs = {True: [], False: []}
    for k, first in enumerate(means(visible, labels)):
        for other, second in enumerate(means(infrared, labels)):
            difference = first @ v - second @ t
            sign = 1 if k == other else -1
            pairs[k == other].append(math.log1p(math.exp(sign * (difference @ metric @ difference - threshold))))
    return sum(sum(losses) / len(losses) for losses in pairs.values())


def loop_within(features, labels, projection):
    centers, losses = means(features, labels), []
    for feature, label in zip(features, labels.tolist(), strict=True):
        losses.append(math.log1p(math.exp(((feature - centers[label]) @ projection).square().sum())))
    return sum(losses) / len(losses)


@pytest.fixture(scope="module")
def data():
    return people(noise=0.3)


@pytest.fixture(scope="module")
def between(data):
    """F_x as a function of V, T and M."""
    visible, infrared = (Classes.of(features, data[2], 10) for features in data[:2])
    return lambda v, t, metric: between_modalities(distances(visible.means @ v, infrared.means @ t, metric), 20.0)


def test_f_x_is_that_of_a_loop_over_pairs_of_identities(data, between):
    v, t, metric = matrices(3)
    for its in (metric @ metric.T, metric):  # of any matrix, as the gradient is one of all its entries
        assert float(between(v, t, its)) == pytest.approx(loop_between(*data, v, t, its, 20.0), rel=1e-12)


@pytest.mark.parametrize("modality", [0, 1])
def test_f_v_is_that_of_a_loop_over_images(data, modality):
    (projection,) = matrices(1)
    features, labels = data[modality], data[2]
    found = within_modality(Classes.of(features, labels, 10).deviations, projection)
    assert float(found) == pytest.approx(loop_within(features, labels, projection), rel=1e-12)


def test_gradients_are_those_of_finite_differences(data, between):
    arguments = [matrix.requires_grad_() for matrix in matrices(3)]
    assert torch.autograd.gradcheck(between, arguments)
    deviations = Classes.of(data[0], data[2], 10).deviations
    assert torch.autograd.gradcheck(lambda projection: within_modality(deviations, projection), arguments[:1])


def test_an_identity_counts_by_its_mean_however_many_images_it_has():
    labels = torch.tensor([1, 0, 1, 1])
    features = torch.tensor([[1.0, 0], [5, 5], [2, 0], [6, 3]], dtype=torch.float64)
    classes = Classes.of(features, labels, 2)
    assert classes.means.tolist() == [[5, 5], [3, 1]]
    assert classes.deviations.tolist() == [[-2, -1], [0, 0], [-1, -1], [3, 2]]


def test_the_logistic_neither_overflows_nor_loses_digits():
    values = torch.tensor([-1e4, -50, 0, 30, 41, 1e4], dtype=torch.float64, requires_grad=True)
    found = logistic(values)
    found.sum().backward()
    expected = [0, math.exp(-50), math.log(2), 30 + math.log1p(math.exp(-30)), 41, 1e4]
    assert found.tolist() == pytest.approx(expected, rel=1e-15, abs=1e-30)
    assert values.grad.tolist() == pytest.approx([0, math.exp(-50), 0.5, 1, 1, 1], abs=1e-12)


def test_identical_features_have_finite_gradients():
    classes = Classes.of(torch.ones(6, 3, dtype=torch.float64), torch.arange(6) % 3, 3)
    eye = torch.eye(3, dtype=torch.float64, requires_grad=True)
    loss = between_modalities(distances(classes.means @ eye, classes.means @ eye, eye), 0.0)
    (loss + within_modality(classes.deviations, eye)).backward()
    assert float(loss.detach()) == pytest.approx(2 * math.log(2)) and eye.grad.isfinite().all()
