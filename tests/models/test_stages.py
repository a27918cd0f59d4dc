from __future__ import annotations

import pytest
import torch

from pipeline.models.backbone import create_backbone
from pipeline.models.stages import stages_of
from pipeline.models.timm_model import Backbone


def build(name: str, last_stage: int | None = None, last_stride: int = 2) -> Backbone:
    torch.manual_seed(0)
    asked = {"pretrained": False, "weights": None, "height": 64, "width": 32}
    return create_backbone(name, **asked, last_stride=last_stride, last_stage=last_stage)


@pytest.mark.parametrize(("name", "stages"), [("resnet10t", "layer{}"), ("regnetx_002", "s{}")])
def test_the_stages_behind_the_last_are_left_out(name: str, stages: str) -> None:
    whole, cut = build(name).eval(), build(name, 3).eval()
    assert stages_of(whole) == [stages.format(number) for number in (1, 2, 3, 4)]
    assert stages_of(cut) == stages_of(whole)[:3] and not [*cut.get_submodule(stages.format(4)).parameters()]
    seen = []
    whole.get_submodule(stages.format(3)).register_forward_hook(lambda module, inputs, output: seen.append(output))
    images = torch.randn(1, 3, 64, 32, generator=torch.Generator().manual_seed(1))
    whole.forward_features(images)
    found = cut.forward_features(images)
    assert torch.equal(found, seen[0]) and found.shape == (1, cut.num_features, 4, 2)


def test_the_last_stride_is_that_of_the_last_stage_kept() -> None:
    assert build("resnet10t", 3, last_stride=1).forward_features(torch.zeros(1, 3, 64, 32)).shape == (1, 256, 8, 4)


@pytest.mark.parametrize(
    ("name", "count", "message"),
    [
        ("resnet10t", 5, "^last_stage: expected 1 to 4, or null; found 5"),
        ("test_convnext", 3, "^last_stage: expected null but for ResNet, RegNet; found 3 for a ConvNeXt"),
    ],
)
def test_what_has_no_such_stage(name: str, count: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(name, count)


def test_a_family_without_stages_has_none() -> None:
    assert stages_of(build("test_vit")) == []
