"""Norms that ranks share, compared with torch's own; several ranks are those of tests/multiprocess."""

from copy import deepcopy

import pytest
import timm
import torch
from timm.layers import BatchNormAct2d, convert_sync_batchnorm
from torch import nn

from pipeline.batch import Modality
from pipeline.models import norm as norms
from pipeline.models.norm import SharedBatchNorm, SharedBatchNormAct, choose_norm, freeze_statistics, share_statistics
from tests.models.networks import make_network

FAMILIES = ["resnet10t", "resnetv2_50", "efficientnet_b0", "regnety_002", "mobilenetv3_small_100", "convnext_atto"]


def build(backbone="resnet10t"):
    modalities = [Modality.VISIBLE, Modality.INFRARED]
    stride = 1 if backbone == "resnet10t" else 2
    return make_network(backbone, last_stride=stride, pooling="average", modalities=modalities, stems="shared")


@pytest.fixture()
def alone(monkeypatch):
    """A process group of this process alone: all that is exchanged comes back."""
    monkeypatch.setattr(norms.distributed, "get_world_size", lambda: 1)
    monkeypatch.setattr(norms.distributed, "get_rank", lambda: 0)
    monkeypatch.setattr(norms.distributed, "all_reduce", lambda values: None)
    monkeypatch.setattr(norms.distributed, "all_gather", lambda gathered, values: gathered[0].copy_(values))


@pytest.mark.parametrize(
    ("setting", "ranks", "norm"),
    [("auto", 1, "global"), ("auto", 8, "global"), ("local", 1, "global"), ("local", 2, "local")]
    + [("frozen", 1, "frozen"), ("frozen", 3, "frozen")],
)
def test_one_ranks_own_rows_are_those_of_all(setting, ranks, norm):
    assert choose_norm(setting, ranks) == norm


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 4, 3)])
def test_a_shared_norm_is_torchs_own_over_the_same_rows(alone, shape):
    features, gradient = torch.randn(shape, dtype=torch.float64) * 3 + 1, torch.randn(shape, dtype=torch.float64)
    torchs = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(5).double()
    nn.init.normal_(torchs.weight)
    nn.init.normal_(torchs.bias)
    ours = norms.share_on_cpu(deepcopy(torchs))
    assert type(ours) is SharedBatchNorm
    results = []
    for layer in (torchs, ours):
        rows = features.clone().requires_grad_()
        given = layer(rows)
        given.backward(gradient)
        results.append([given, rows.grad, layer.weight.grad, layer.bias.grad, *layer.buffers()])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(ours.eval()(features), torchs.eval()(features))


def test_half_precision_stays_half_and_is_computed_in_single(alone):
    layer = norms.share_on_cpu(nn.BatchNorm1d(4))
    features = 100 + torch.randn(64, 4)
    found = layer(features.bfloat16())
    assert found.dtype == torch.bfloat16 and layer.running_mean.dtype == torch.float32
    torch.testing.assert_close(found.float().mean(dim=0), torch.zeros(4), atol=0.05, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_network_with_shared_norms_is_the_network(alone, family):
    plain, images = build(family).train(), torch.randn(4, 3, 64, 32)
    shared = deepcopy(plain)
    share_statistics(shared, "global")
    assert not any(type(layer) in (nn.BatchNorm1d, nn.BatchNorm2d, BatchNormAct2d) for layer in shared.modules())
    assert [*shared.state_dict()] == [*plain.state_dict()]
    outputs = []
    for network in (plain, shared):
        torch.manual_seed(1)  # drop paths
        outputs.append(network(images, [0, 0, 1, 1]).pooled)
    torch.testing.assert_close(*outputs, rtol=1e-3, atol=1e-4)
    for (name, expected), found in zip(plain.named_buffers(), shared.buffers(), strict=True):
        torch.testing.assert_close(found.float(), expected.float(), rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("family", FAMILIES[:-1])
def test_the_converter_for_gpus_keeps_every_activation(family):
    """torch's own converter takes the activation away from layers that join it to the norm."""
    network = timm.create_model(family, pretrained=False, num_classes=0)
    joined = {name: type(layer.act) for name, layer in network.named_modules() if isinstance(layer, BatchNormAct2d)}
    converted = dict(convert_sync_batchnorm(network).named_modules())
    assert {name: type(converted[name].act) for name in joined} == joined
    assert bool(joined) == (family != "resnet10t")


def test_joined_layers_are_shared_with_their_activation(alone):
    layer = norms.share_on_cpu(BatchNormAct2d(3))
    assert type(layer) is SharedBatchNormAct
    features = torch.randn(4, 3, 2, 2)
    torch.testing.assert_close(layer(features), BatchNormAct2d(3)(features))


def test_frozen_norms_are_the_backbones_and_the_neck_is_shared(alone):
    network = build().train()
    share_statistics(network, "frozen", network.pretrained_norms())
    freeze_statistics(network.pretrained_norms())
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    network(torch.randn(4, 3, 64, 32), [0, 0, 1, 1])
    changed = {name for name, buffer in network.named_buffers() if not torch.equal(buffer, before[name])}
    assert changed == {f"heads.global.neck.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    assert type(network.heads["global"].neck) is SharedBatchNorm


def test_local_norms_stay_as_they_are():
    network = build()
    before = [type(layer) for layer in network.modules()]
    share_statistics(network, "local")
    assert [type(layer) for layer in network.modules()] == before
