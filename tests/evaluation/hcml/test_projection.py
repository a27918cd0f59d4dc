"""The projection as a function and as a file."""

import pytest
import torch
from torch.nn.functional import normalize

from pipeline.batch import Modality
from pipeline.evaluation.hcml import projection as module
from pipeline.evaluation.hcml.objective import Classes
from pipeline.evaluation.hcml.projection import learn_projection, principal_components, read_projection
from pipeline.evaluation.hcml.solver import minimize
from tests.evaluation.hcml.people import people

FACTS = {"weights": "abc", "flip": "False"}


@pytest.fixture(scope="module")
def data():
    """Features (n, D) of both modalities one after the other, labels and which are infrared."""
    visible, infrared, labels = people()
    return torch.cat([visible, infrared]), labels.repeat(2), torch.arange(2 * len(labels)) >= len(labels)


@pytest.fixture(scope="module")
def learned(data):
    return learn_projection(*data)


def test_principal_components_are_directions_of_largest_variance():
    generator = torch.Generator().manual_seed(0)
    spread = torch.tensor([0.1, 3, 1, 0.5, 2], dtype=torch.float64)
    rows = torch.randn(200, 5, generator=generator, dtype=torch.float64) * spread
    rows = rows - rows.mean(dim=0)
    basis = principal_components(rows)
    torch.testing.assert_close(basis.T @ basis, torch.eye(5, dtype=torch.float64))
    variance = (rows @ basis).var(dim=0)
    assert variance.tolist() == sorted(variance.tolist(), reverse=True)
    singular = torch.linalg.svdvals(rows)
    torch.testing.assert_close(variance, singular.square() / 199)


@pytest.mark.parametrize(("rows", "width", "size", "left"), [(200, 5, 3, 3), (200, 5, 600, 5), (4, 50, 600, 3)])
def test_as_many_dimensions_are_left_as_there_can_be(rows, width, size, left, monkeypatch):
    monkeypatch.setattr(module, "SIZE", size)
    features = torch.randn(rows, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    centered = features - features.mean(dim=0)
    basis = principal_components(centered)
    assert basis.shape == (width, left)
    if size != 3:  # nothing is lost
        torch.testing.assert_close(centered @ basis @ basis.T, centered)


def test_features_go_the_way_that_was_learned(data, learned):
    features, labels, infrared = data
    unit = features / features.norm(dim=1, keepdim=True)
    reduced = (unit - unit.mean(dim=0)) @ learned.basis
    expected = minimize(*(Classes.of(reduced[own], labels[own], 10) for own in (~infrared, infrared)))
    project = learned.function(torch.device("cpu"))
    for own, modality, its in (
        (~infrared, Modality.VISIBLE, expected.visible),
        (infrared, Modality.INFRARED, expected.infrared),
    ):
        found = project(features[own].float(), modality)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, (reduced[own] @ its).float(), rtol=1e-4, atol=1e-4)


def test_neither_the_length_of_features_nor_their_order_matters(data, learned):
    features, labels, infrared = data
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    lengths = torch.rand(len(labels), 1, generator=torch.Generator().manual_seed(2)) + 0.5
    other = learn_projection((features * lengths)[order].float(), labels[order], infrared[order])
    # Components may point the other way: what is compared is distances.
    distances = [torch.cdist(*sides(each, features, infrared)) for each in (learned, other)]
    torch.testing.assert_close(distances[0], distances[1], rtol=1e-3, atol=1e-3)


def sides(projection, features, infrared):
    project = projection.function(torch.device("cpu"))
    yield project(normalize(features[infrared]).float(), Modality.INFRARED)
    yield project(normalize(features[~infrared]).float(), Modality.VISIBLE)


def test_a_file_is_read_as_it_was_written_and_only_for_what_it_is_of(learned, tmp_path):
    path = tmp_path / "hcml.safetensors"
    assert read_projection(path, FACTS) is None
    learned.save(path, FACTS)
    found = read_projection(path, FACTS)
    for name, tensor in vars(learned).items():
        assert torch.equal(getattr(found, name), tensor) and tensor.dtype == torch.float64
    for others in (FACTS | {"flip": "True"}, FACTS | {"more": "1"}, {"weights": "abc"}):
        assert read_projection(path, others) is None
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("keep", [0, 5, 200, -8])
def test_a_truncated_file_counts_as_none_with_a_warning(learned, keep, tmp_path, caplog):
    path = tmp_path / "hcml.safetensors"
    learned.save(path, FACTS)
    path.write_bytes(path.read_bytes()[:keep])
    assert read_projection(path, FACTS) is None
    assert f"{path}: can't be read" in caplog.text and caplog.text.count("\n") == 1


def test_a_file_without_a_matrix_counts_as_none(learned, tmp_path, caplog):
    path = tmp_path / "hcml.safetensors"
    module.save_file({"mean": learned.mean}, path, FACTS)
    assert read_projection(path, FACTS) is None and "can't be read" in caplog.text
