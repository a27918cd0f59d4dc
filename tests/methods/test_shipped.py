"""The shipped methods, on a small network: each trains all that it has, by losses that are what its file says."""

from pathlib import Path

import pytest
import torch

from pipeline.batch import Batch, Modality
from pipeline.config import load_config
from pipeline.loading.derivations import modalities_in_use
from pipeline.methods.method import Share, method_of
from tests.methods.games import SMALLER, files_of_one_objective

METHODS = files_of_one_objective()
IDENTITIES = 40


def build(file, *overrides):
    """The settings and the method of a file, with a network of one block a stage."""
    settings = load_config([str(file)])
    small = ["model.backbone=resnet10t"] if settings.model.backbone.startswith("resnet50") else []
    small += ["model.pretrained=false", "augment.height=64", "augment.width=32", "batch.ids_per_batch=4"]
    small += SMALLER.get(Path(file).stem, [])
    settings = load_config([str(file), *small, *overrides])
    torch.manual_seed(0)
    method = method_of(settings)
    return settings, method.build(method.resolved(settings), IDENTITIES, Share(0, (4,)))


def batch(settings):
    """Random images of four identities."""
    modalities, images = modalities_in_use(settings), settings.batch.images_per_modality
    labels = torch.arange(4).repeat_interleave(images).repeat(len(modalities))
    modality = tuple(int(kind) for kind in modalities for _ in range(4 * images))
    pixels = torch.randn(len(labels), 3, 64, 32, generator=torch.Generator().manual_seed(1))
    return Batch(pixels, labels, labels, labels % 2 + 1, modality, labels)


@pytest.mark.parametrize("file", METHODS, ids=lambda file: file.stem)
def test_a_step_reaches_every_trained_parameter_with_a_finite_gradient(file):
    settings, method = build(file)
    parts = method.train()(batch(settings))
    assert set(settings.losses) <= parts.keys() and all(torch.isfinite(value) for value in parts.values())
    parts["loss"].backward()
    trained = {name: parameter for name, parameter in method.named_parameters() if parameter.requires_grad}
    assert [name for name, parameter in trained.items() if parameter.grad is None] == []
    assert [name for name, parameter in trained.items() if not torch.isfinite(parameter.grad).all()] == []


def test_xivs_identity_loss_is_the_sum_of_three_modalities_means():
    settings, method = build("configs/methods/xiv.yaml")
    data = batch(settings)
    given = method.train()(data)
    weights = {name: term.weight for name, term in settings.losses.items()}
    assert [*modalities_in_use(settings)] == [Modality.VISIBLE, Modality.INFRARED, Modality.VISIBLE_DERIVED]
    total = 3 * given["identity"] + given["intra"] + 0.1 * given["center_triplet"]
    torch.testing.assert_close(given["loss"].detach(), total)
    assert weights == {"identity": 3.0, "intra": 1.0, "center_triplet": 0.1}


def test_the_first_two_stream_network_has_two_trunks_and_compares_the_embedding():
    settings, method = build("configs/methods/bdtr.yaml")
    visible, infrared = (
        sum("conv" in name for name in method.network.stems[key].state_dict()) for key in ("visible", "infrared")
    )
    assert visible == infrared > 8
    assert method.objective.reads("global", "embedding") and not method.objective.reads("global", "pooled")
