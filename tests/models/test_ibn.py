"""IBN-a against its formula, and how it starts from weights with it and without it."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from pipeline.models import norm as norms
from pipeline.models.backbone import create_backbone
from pipeline.models.ibn import InstanceBatchNorm
from pipeline.models.norm import SharedBatchNorm, norm_layers


def create(name: str = "resnet10t", **changes: object) -> nn.Module:
    keywords = {"height": 64, "width": 32, "pretrained": False, "weights": None, "last_stride": 1, "ibn": "a"}
    return create_backbone(name, **keywords | changes)


def with_statistics(channels: int) -> nn.BatchNorm2d:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(channels)
    for values in (norm.weight.data, norm.bias.data, norm.running_mean):
        nn.init.normal_(values)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    return norm


def by_formula(norm: nn.BatchNorm2d, features: torch.Tensor, training: bool) -> torch.Tensor:
    """One channel at a time: the first half by each image's own statistics, the rest by the batch's or the kept."""
    result, half = torch.empty_like(features), norm.num_features // 2
    for channel in range(norm.num_features):
        values = features[:, channel]
        if channel < half:
            mean, variance = values.mean((1, 2), keepdim=True), values.var((1, 2), correction=0, keepdim=True)
        elif training:
            mean, variance = values.mean(), values.var(correction=0)
        else:
            mean, variance = norm.running_mean[channel], norm.running_var[channel]
        normalized = (values - mean) / (variance + norm.eps).sqrt()
        result[:, channel] = normalized * norm.weight[channel] + norm.bias[channel]
    return result


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("channels", [6, 7])
def test_equals_the_formula_with_the_values_of_the_norm_it_replaces(channels: int, training: bool) -> None:
    norm, features = with_statistics(channels), torch.randn(3, channels, 5, 4) * 2 + 1
    found = InstanceBatchNorm(norm).train(training)(features)
    torch.testing.assert_close(found, by_formula(norm, features, training))


def test_ranks_share_the_statistics_of_its_batch_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(norms.distributed, "get_world_size", lambda: 1)
    monkeypatch.setattr(norms.distributed, "all_gather", lambda gathered, values: gathered[0].copy_(values))
    norm, features = with_statistics(6), torch.randn(3, 6, 5, 4)
    shared = norms.share_on_cpu(InstanceBatchNorm(norm))
    assert type(shared.BN) is SharedBatchNorm and norm_layers(shared) == [shared.BN]
    torch.testing.assert_close(shared.train()(features), by_formula(norm, features, training=True))


def test_it_is_in_each_block_of_the_first_three_stages_under_the_names_of_the_authors_weights() -> None:
    backbone = create("resnet18")
    places = [name for name, layer in backbone.named_modules() if isinstance(layer, InstanceBatchNorm)]
    assert places == [f"layer{stage}.{block}.bn1" for stage in (1, 2, 3) for block in (0, 1)]
    ibn = {name for name in backbone.state_dict() if name.startswith("layer3.1.bn1.")}
    kept = {f"layer3.1.bn1.BN.{name}" for name in nn.BatchNorm2d(2).state_dict()}
    assert ibn == kept | {"layer3.1.bn1.IN.weight", "layer3.1.bn1.IN.bias"}


def test_starts_from_weights_without_it_by_their_slices_and_from_weights_with_it_as_they_are(tmp_path: Path) -> None:
    plain = timm.create_model("resnet10t", num_classes=7)
    for norm in norm_layers(plain):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.running_mean)
    torch.save(plain.state_dict(), tmp_path / "plain.pth")
    sliced = create(weights=str(tmp_path / "plain.pth"))
    found, expected = sliced.layer2[0].bn1, plain.layer2[0].bn1
    assert torch.equal(torch.cat([found.IN.weight, found.BN.weight]), expected.weight)
    assert torch.equal(found.BN.running_mean, expected.running_mean[64:])
    assert sliced.origin == create(weights=str(tmp_path / "plain.pth"), ibn="none").origin
    nn.init.normal_(found.IN.weight)
    torch.save(sliced.state_dict(), tmp_path / "ibn.pth")
    again = create(weights=str(tmp_path / "ibn.pth"))
    assert all(torch.equal(values, again.state_dict()[name]) for name, values in sliced.state_dict().items())
    with pytest.raises(ValueError, match="weights: .*ibn.pth is not for this backbone"):
        create(weights=str(tmp_path / "ibn.pth"), ibn="none")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("regnetx_002", 'ibn: "a" is for ResNets; found RegNet: set it to none'),
        ("resnet50_gn", 'ibn: "a" is for blocks that begin with batch norm; found GroupNorm'),
    ],
)
def test_other_networks_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create(name)
