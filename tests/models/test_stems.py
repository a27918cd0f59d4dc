from __future__ import annotations

import pytest
import timm
import torch

from pipeline.batch import Modality
from pipeline.models.stems import STEM_MODES, build_stems, stem_keys

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
