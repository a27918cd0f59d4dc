from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from timm.layers import BlurPool2d
from timm.models.resnet import BasicBlock, Bottleneck, make_blocks
from torch import nn

from pipeline.models.backbone import create_backbone


def _create(name: str, **changes: object) -> nn.Module:
    keywords = {"height": 64, "width": 32, "pretrained": False, "weights": None, "last_stride": 2}
    return create_backbone(name, **keywords | changes)


def _map_size(backbone: nn.Module, height: int = 64, width: int = 32) -> tuple[int, ...]:
    with torch.no_grad():
        return tuple(backbone.eval().forward_features(torch.randn(1, 3, height, width)).shape[1:])


# Plain, bottleneck, average pooling on the shortcut, both kinds of anti-aliasing, squeeze-and-excitation.
RESNETS = ["resnet18", "resnet50", "resnet10t", "resnet26d", "resnetblur18", "resnetaa34d", "seresnet18"]


@pytest.mark.parametrize("name", [*RESNETS, "convnext_atto"])
def test_last_stride_one_doubles_the_map(name: str) -> None:
    two, one = _create(name), _create(name, last_stride=1)
    channels = two.num_features
    assert _map_size(two) == (channels, 2, 1)
    assert _map_size(one) == (channels, 4, 2)
    assert {k: v.shape for k, v in one.state_dict().items()} == {k: v.shape for k, v in two.state_dict().items()}


@pytest.mark.parametrize(
    ("name", "block", "blocks", "channels", "arguments"),
    [
        ("resnet18", BasicBlock, 2, 256, {}),
        ("resnet50", Bottleneck, 3, 1024, {}),
        ("resnet26d", Bottleneck, 2, 1024, {"avg_down": True}),
        ("resnetblur18", BasicBlock, 2, 256, {"aa_layer": BlurPool2d}),
        ("resnetaa34d", BasicBlock, 3, 256, {"aa_layer": nn.AvgPool2d, "avg_down": True}),
    ],
)
def test_last_stride_one_equals_a_stage_built_by_timm_with_stride_one(
    name: str, block: type, blocks: int, channels: int, arguments: dict
) -> None:
    """timm gives a ResNet's first stage stride 1 and no dilation: the reference is that stage in place of the last."""
    torch.manual_seed(0)
    stage = _create(name, last_stride=1).layer4.eval()
    ((_, reference),), _ = make_blocks((block,), (512,), (blocks,), inplanes=channels, **arguments)
    reference.load_state_dict(stage.state_dict())
    features = torch.randn(2, channels, 6, 3)
    with torch.no_grad():
        torch.testing.assert_close(stage(features), reference.eval()(features))


def test_ignored_by_plain_transformers_and_refused_by_other_families() -> None:
    assert _map_size(_create("test_vit", last_stride=1)) == _map_size(_create("test_vit"))
    with pytest.raises(ValueError, match="last_stride: 1 is for .*, convnext; vgg11 is of another: set it to 2"):
        _create("vgg11", last_stride=1)
    with pytest.raises(ValueError, match="last_stride: expected 1 or 2; found 4"):
        _create("resnet18", last_stride=4)


def test_image_size_is_given_to_transformers() -> None:
    backbone = _create("vit_tiny_patch16_224", height=96, width=48)
    assert _map_size(backbone, 96, 48) == (6 * 3 + 1, 192)
    with pytest.raises(ValueError, match="16 x 16 patches; found 96 x 50"):
        _create("vit_tiny_patch16_224", height=96, width=50)


def test_patches_that_overlap_lose_no_edge() -> None:
    assert _map_size(_create("pvt_v2_b0")) == (256, 2, 1)


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "test_vit", "test_efficientnet"])
def test_parameters_that_ask_for_a_gradient_get_one(name: str) -> None:
    backbone = _create(name)
    assert backbone.training
    assert all(parameter.grad is None for parameter in backbone.parameters())
    backbone.forward_features(torch.randn(2, 3, 64, 32)).sum().backward()
    assert all((parameter.grad is not None) == parameter.requires_grad for parameter in backbone.parameters())


def test_convnext_head_norm_is_frozen_and_nothing_else() -> None:
    frozen = [name for name, p in _create("convnext_atto").named_parameters() if not p.requires_grad]
    assert frozen == ["head.norm.weight", "head.norm.bias"]


def test_creation_leaves_batch_norm_statistics_alone() -> None:
    norm = _create("resnet18").bn1
    assert torch.equal(norm.running_mean, torch.zeros(64)) and norm.num_batches_tracked == 0


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match="timm has no model 'resnt50'; nearest: .*resnet50"):
        _create("resnt50")
    with pytest.raises(ValueError, match="timm has no weights 'resnet18.foo'; there are: .*resnet18.a1_in1k"):
        _create("resnet18.foo")
    with pytest.raises(ValueError, match="timm has no model"):
        _create("zzzzzzzz")


def test_pretrained_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match="the weights of resnet18 could not be fetched .*as weights") as caught:
        _create("resnet18", pretrained=True)
    assert "\n" not in str(caught.value)


def test_image_that_the_model_cannot_take() -> None:
    with pytest.raises(ValueError, match="backbone: test_efficientnet fails on a 0 x 32 image") as caught:
        _create("test_efficientnet", height=0)
    assert "\n" not in str(caught.value)


def test_weights_file_replaces_fetching(tmp_path: Path) -> None:
    source = timm.create_model("resnet10t", num_classes=7)
    path = tmp_path / "weights.pth"
    torch.save(source.state_dict(), path)
    backbone = _create("resnet10t", pretrained=True, weights=str(path), last_stride=1)
    assert torch.equal(backbone.layer4[0].conv2.weight, source.layer4[0].conv2.weight)
    with pytest.raises(FileNotFoundError, match="weights: no such file: .*absent.pth"):
        _create("resnet10t", weights=str(tmp_path / "absent.pth"))
