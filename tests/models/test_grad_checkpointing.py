"""Activations computed again give the same numbers as those kept, statistics of norms included."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pipeline.batch import Modality
from pipeline.models.backbone import create_backbone
from pipeline.models.inserts import put_inserts
from pipeline.models.norm import norm_layers, statistics_kept
from pipeline.models.pooling import pooling_for
from pipeline.models.reid import ReIDNetwork
from pipeline.parts import HEADS, INSERTS

V, IR, DV, DI = Modality
ROWS = (V, V, IR, IR, DV, DI)
SIZE = {"height": 64, "width": 32}


def build(name: str, again: bool, asked: dict[str, Any], inserts: dict[str, Any]) -> ReIDNetwork:
    torch.manual_seed(0)
    backbone = create_backbone(
        name, **SIZE, pretrained=False, weights=None, last_stride=2, grad_checkpointing=again, **asked
    )
    put_inserts(backbone, {kind: INSERTS.options_of({"at": at}, kind) for kind, at in inserts.items()}, **SIZE)
    heads = {"global": HEADS.options_of({"type": "bnneck"})}
    pooling = pooling_for(backbone, "auto", 3.0)
    return ReIDNetwork(
        backbone=backbone, modalities=tuple(Modality), stems="source", identities=6, heads=heads, pooling=pooling
    )


def step(network: ReIDNetwork, count_once: bool = True) -> dict[str, torch.Tensor]:
    """The gradients and the buffers after one pass forwards and backwards."""
    images = torch.randn(len(ROWS), 3, 64, 32, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(2)  # of drop path
    output = network(images, ROWS)
    loss = output.logits.square().mean() + output.pooled.square().mean()
    if count_once:
        with statistics_kept(network):
            loss.backward()
    else:
        loss.backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    return gradients | dict(network.named_buffers())


@pytest.mark.parametrize(
    ("name", "asked", "inserts"),
    [
        ("resnet10t", {}, {"non_local": ["layer2.0", "layer3"]}),
        ("resnet10t", {}, {"mfa": ["layer1", "layer3"], "non_local": "layer3", "dee": "layer3"}),
        ("resnet18", {"drop_path": 0.5, "ibn": "a"}, {}),
        ("resnetv2_50", {"kwargs": {"layers": [1, 1, 1, 1]}}, {}),
        ("regnetx_002", {}, {"non_local": ["s3"]}),
        ("mobilenetv2_050", {}, {"non_local": ["blocks.4"]}),
        ("convnext_atto", {}, {}),
        ("vit_tiny_patch16_224", {"kwargs": {"depth": 2}}, {}),
        ("vit_small_patch16_dinov3", {"kwargs": {"depth": 2}}, {}),
        ("swin_tiny_patch4_window7_224", {"kwargs": {"depths": [1, 1, 1, 1], "embed_dim": 24}}, {}),
    ],
)
def test_gradients_and_statistics_are_those_without(name: str, asked: dict[str, Any], inserts: dict[str, Any]) -> None:
    kept, again = (step(build(name, again, asked, inserts)) for again in (False, True))
    assert kept.keys() == again.keys()
    assert [name for name in kept if not torch.equal(kept[name], again[name])] == []


def test_layers_are_run_again_and_would_count_a_batch_twice() -> None:
    network = build("resnet10t", True, {}, {})
    calls: list[int] = []
    network.backbone.layer1[0].conv1.register_forward_hook(lambda *_: calls.append(1))
    found = step(network, count_once=False)
    assert len(calls) == 2 and found["backbone.layer1.0.bn1.num_batches_tracked"] == 2
    assert {layer.momentum for layer in norm_layers(network)} == {0.1}


def test_a_model_without_it_is_refused() -> None:
    with pytest.raises(ValueError, match="grad_checkpointing: timm's dla46_c has none; set it to false"):
        build("dla46_c", True, {}, {})
