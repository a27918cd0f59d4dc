"""The shipped methods, on a small network: each trains all that it has, by losses that are what its file says."""

from pathlib import Path

import pytest
import torch

from pipeline.batch import Batch, Modality
from pipeline.config import load_config
from pipeline.loading.derivations import modalities_in_use
from pipeline.losses.distance import to_unit_length
from pipeline.losses.hetero_center_triplet import hetero_center_triplet_loss
from pipeline.losses.identity import identity_loss
from pipeline.losses.intra import intra_modality_loss
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
    method.views(settings)
    return settings, method.build(method.resolved(settings), IDENTITIES, Share(0, (4,)))


def batch(settings):
    """Random images of four identities."""
    modalities, images = modalities_in_use(settings), settings.batch.images_per_modality
    labels = torch.arange(4).repeat_interleave(images).repeat(len(modalities))
    modality = tuple(int(kind) for kind in modalities for _ in range(4 * images))
    pixels = torch.randn(len(labels), 3, 64, 32, generator=torch.Generator().manual_seed(1))
    return Batch(pixels, labels, labels, labels % 2 + 1, modality, labels)


def test_the_recipe_of_a_vision_transformer_trains_all_of_it_at_rates_by_layer():
    settings, method = build("configs/modern_vit.yaml", "model.backbone=test_vit")
    parts = method.train()(batch(settings))
    parts["loss"].backward()
    trained = {name: one.grad for name, one in method.named_parameters() if one.requires_grad}
    assert [name for name, grad in trained.items() if grad is None or not grad.isfinite().all()] == []
    assert method.tested.backbone.token_grid == (5, 2) and method.tested.pooling.kind == "token"
    groups = {group["name"]: group for group in method.parameter_groups(settings)}
    rates = [group["lr"] for name, group in groups.items() if name.startswith("backbone.layer_")]
    assert max(rates) == pytest.approx(groups["heads"]["lr"] / 2) and min(rates) < 0.6 * max(rates)
    assert groups["backbone.layer_0.no_decay"]["weight_decay"] == 0


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


def outputs(file):
    """The loss of a method's file, and the features of its network by stripe, for the same images."""
    settings, method = build(file)
    data = batch(settings)
    loss = method.train()(data)["loss"].detach()
    return data, loss, [*method.network(data.images, data.modality).features.values()], method


def test_hcts_loss_is_that_of_its_paper():
    data, loss, stripes, _ = outputs("configs/methods/hct.yaml")
    visible = len(data.label) // 2
    sides = data.label[:visible], data.label[visible:]

    def triplet(features):
        return hetero_center_triplet_loss(features[:visible], sides[0], features[visible:], sides[1], 0.3)

    total = sum(identity_loss(stripe.logits, data.label, 0.1) + triplet(stripe.pooled) for stripe in stripes)
    together = torch.cat([stripe.pooled for stripe in stripes], dim=1)
    assert together.shape[1] == 4 * 256
    torch.testing.assert_close(loss, (total + triplet(together)).detach())


def test_mmns_loss_is_that_of_its_paper():
    data, loss, stripes, method = outputs("configs/methods/mmn.yaml")
    count = len(data.label) // 4
    visible, infrared, visible_derived, infrared_derived = torch.arange(4 * count).split(count)
    total = 0
    for stripe in stripes:
        pairs = [(one, other) for one in (visible, visible_derived) for other in (infrared, infrared_derived)]
        chosen = [torch.cat(pair) for pair in pairs]
        triplets = [intra_modality_loss(stripe.pooled[rows], data.label[rows], 0.3, "mean") for rows in chosen]
        middle = [to_unit_length(stripe.pooled)[rows] for rows in (visible_derived, infrared_derived)]
        consistency = method.objective.terms["distribution_consistency"].between(
            middle[0], data.label, middle[1], data.label
        )
        total += identity_loss(stripe.logits, data.label) + sum(triplets) / 4 + 0.2 * consistency
    torch.testing.assert_close(loss, total.detach() / 4)
