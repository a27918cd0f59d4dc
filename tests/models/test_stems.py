from __future__ import annotations

from copy import deepcopy
from typing import get_args

import pytest
import timm
import torch
from torch import nn

from pipeline.batch import Modality
from pipeline.models.stems import STEM_MODES, build_stems, stem_keys
from pipeline.settings import StemDepth
from tests.models.networks import make_network

V, IR, DV, DI = Modality
FAMILIES = ["resnet18", "resnet10t", "test_convnext", "vit_tiny_patch16_224"]


def _backbone(name: str) -> torch.nn.Module:
    return timm.create_model(name, num_classes=0, global_pool="").eval()


def test_keys() -> None:
    assert stem_keys("source", (V, IR, DI)) == {V: "visible", DV: "visible", IR: "infrared", DI: "infrared"}
    assert stem_keys("source", (V, DV)) == {V: "visible", DV: "visible"}
    assert stem_keys("modality", (V, IR, DI)) == {V: "visible", IR: "infrared", DI: "infrared_derived"}
    assert stem_keys("shared", (V,)) == dict.fromkeys(Modality, "shared")
    with pytest.raises(ValueError, match="stems: expected one of source, modality, shared; found 'two'"):
        stem_keys("two", (V, IR))
    assert STEM_MODES == ("source", "modality", "shared")


@pytest.mark.parametrize("name", FAMILIES)
def test_stem_then_body_is_the_whole_backbone(name: str) -> None:
    backbone = _backbone(name)
    size = 224 if name.startswith("vit") else 64
    images = torch.randn(2, 3, size, size)
    parameters = sum(parameter.numel() for parameter in backbone.parameters())
    with torch.no_grad():
        expected = backbone.forward_features(images)
        stems = build_stems(backbone, ["visible"])
        assert torch.equal(backbone.forward_features(stems["visible"](images)), expected)
    taken = sum(parameter.numel() for parameter in stems.parameters())
    assert taken > 0
    assert taken + sum(parameter.numel() for parameter in backbone.parameters()) == parameters


@pytest.mark.parametrize("name", FAMILIES)
def test_copies_start_equal_and_share_nothing(name: str) -> None:
    stems = build_stems(_backbone(name), ["visible", "infrared", "visible"])
    assert list(stems) == ["visible", "infrared"]
    first, second = stems["visible"].state_dict(), stems["infrared"].state_dict()
    assert first.keys() == second.keys() and len(first) > 0
    for key, tensor in first.items():
        assert torch.equal(tensor, second[key])
        assert tensor.data_ptr() != second[key].data_ptr()


def test_shared_leaves_the_backbone_whole() -> None:
    backbone = _backbone("levit_128s")
    before = list(backbone.state_dict())
    stems = build_stems(backbone, ["shared", "shared"])
    assert list(stems) == ["shared"] and not list(stems.parameters())
    assert list(backbone.state_dict()) == before


def test_other_families_are_refused() -> None:
    with pytest.raises(ValueError, match='found LevitDistilled: use "shared"') as caught:
        build_stems(_backbone("levit_128s"), ["visible", "infrared"])
    assert "\n" not in str(caught.value)


def test_dynamic_image_size_is_refused() -> None:
    backbone = timm.create_model("vit_tiny_patch16_224", num_classes=0, global_pool="", dynamic_img_size=True)
    with pytest.raises(ValueError, match="of fixed image size"):
        build_stems(backbone, ["visible", "infrared"])


@pytest.mark.parametrize("depth", get_args(StemDepth))
@pytest.mark.parametrize(
    "name", ["resnet18", "resnet10t", "regnety_002", "test_convnext", "resnetv2_18", "test_byobnet"]
)
def test_stems_of_every_depth_then_the_rest_are_the_whole_backbone(name: str, depth: StemDepth) -> None:
    backbone = _backbone(name)
    images = torch.randn(2, 3, 64, 64)
    names = {name.removeprefix("backbone.") for name in backbone.state_dict()}
    with torch.no_grad():
        expected = backbone.forward_features(images)
        stems = build_stems(backbone, ["visible", "infrared"], depth)
        for stem in stems.values():
            assert torch.equal(backbone.forward_features(stem(images)), expected)
    assert {*stems["visible"].state_dict(), *backbone.state_dict()} == names
    if depth == "convolution":
        assert [tensor.ndim for tensor in stems["visible"].state_dict().values()][1:] in ([], [1])  # a bias


@pytest.mark.parametrize(
    ("name", "depth", "message"),
    [
        ("mobilenetv3_small_050", "stage1", "stem_depth: stage1 is for stages of ResNet, .*; found MobileNetV3"),
        ("vit_tiny_patch16_224", "convolution", "stem_depth, input: a first convolution is known of .*; found Vision"),
    ],
)
def test_depths_that_a_family_does_not_have(name: str, depth: StemDepth, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_stems(_backbone(name), ["visible", "infrared"], depth)


def test_a_whole_trunk_for_each_modality_shares_only_what_is_behind_it() -> None:
    network = make_network(stem_depth="stage4").train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert not [*network.backbone.parameters()]
    network(torch.randn(4, 3, 64, 32), [int(V)] * 4).pooled.sum().backward()
    reached = {name.split(".")[0] for name, p in network.stems.named_parameters() if p.grad is not None}
    assert reached == {"visible"}
    changed = {name.split(".")[1] for name, t in network.state_dict().items() if not torch.equal(t, before[name])}
    assert changed == {"visible", "global"}  # statistics of its norms, and of the neck


def test_zero_padding_is_a_convolution_of_one_channel_for_each_modality() -> None:
    """Wu et al., ICCV 2017: two channels, (gray, 0) for visible and (0, infrared) for infrared images, one network."""
    network = make_network(stem_depth="convolution", gray=True, asked={"kwargs": {"stem_type": ""}})
    with torch.no_grad():
        network.stems["infrared"].conv1.weight.normal_()
    images = torch.rand(6, 3, 64, 32)
    images[3:] = images[3:, :1]
    rows = [int(V)] * 3 + [int(IR)] * 3
    gray = images[:, 0] * 0.299 + images[:, 1] * 0.587 + images[:, 2] * 0.114
    padded = torch.zeros(6, 2, 64, 32)
    padded[:3, 0], padded[3:, 1] = gray[:3], gray[3:]
    both = nn.Conv2d(2, 64, 7, stride=2, padding=3, bias=False)
    both.weight = nn.Parameter(torch.cat([network.stems[key].conv1.weight for key in ("visible", "infrared")], dim=1))
    whole = deepcopy(network.backbone)
    whole.conv1 = both
    for mode in (True, False):
        found = network.train(mode)(images, rows).pooled
        expected = network.pooling(whole.train(mode).forward_features(padded))
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_gray_input_is_what_three_channels_of_it_were() -> None:
    color, gray = make_network().eval(), make_network(gray=True).eval()
    images = torch.rand(2, 1, 64, 32).expand(2, 3, 64, 32)
    torch.testing.assert_close(gray(images, [0, 1]).pooled, color(images, [0, 1]).pooled, rtol=1e-5, atol=1e-5)
    assert gray.stems["visible"].conv1[0].weight.shape[1] == 1


def test_a_depth_of_one_stem_for_all_is_refused() -> None:
    with pytest.raises(ValueError, match="stem_depth: expected stem where all modalities share one; found stage2"):
        build_stems(_backbone("resnet18"), ["shared"], "stage2")
