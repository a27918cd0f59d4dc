"""One table of what each family of timm can do, and every family through one step of training and of evaluation.

`python -m tests.models.test_backbones` prints the table as it is measured.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from timm.models import model_entrypoint
from torch import nn

from pipeline.batch import Modality
from pipeline.models.backbone import create_backbone
from pipeline.models.stems import STEMS
from tests.models.networks import make_network


class Family(NamedTuple):
    """A small model and what is expected of it; `changed`: the modules that lose their stride, None: it is refused."""

    name: str
    width: int
    pooling: str
    stem: tuple[str, ...]
    changed: set[str] | None
    kwargs: dict[str, Any] = {}


RESNET, EFFICIENT = ("conv1", "bn1", "act1", "maxpool"), ("conv_stem", "bn1")
DILATED = {"stages.3.downsample.1", "stages.3.blocks.0.conv_dw", "stages.3.blocks.1.conv_dw"}
SHALLOW = {"depth": 1}
NARROW = {"depths": [1, 1, 1, 1], "embed_dim": 24}
SHORT = {"layers": [1, 1, 1, 1]}
FAMILIES = [
    Family("resnet10t", 512, "gem", RESNET, {"layer4.0.conv1", "layer4.0.downsample.0"}),
    Family("resnet18d", 512, "gem", RESNET, {"layer4.0.conv1", "layer4.0.downsample.0"}),
    Family(
        "resnetv2_50", 2048, "gem", ("stem",), {"stages.3.blocks.0.conv2", "stages.3.blocks.0.downsample.conv"}, SHORT
    ),
    Family(
        "resnetv2_50x1_bit", 2048, "gem", ("stem",), {"stages.3.blocks.0.conv2", "stages.3.blocks.0.downsample.conv"}
    ),
    Family("regnetx_002", 368, "gem", ("stem",), {"s4.b1.conv2.conv", "s4.b1.downsample.conv"}),
    Family("regnety_002", 368, "gem", ("stem",), {"s4.b1.conv2.conv", "s4.b1.downsample.conv"}),
    Family("efficientnet_lite0", 1280, "gem", EFFICIENT, {"blocks.5.0.conv_dw"}),
    Family("tf_efficientnet_lite0", 1280, "gem", EFFICIENT, {"blocks.5.0.conv_dw"}),
    Family("efficientnet_b0", 1280, "average", EFFICIENT, {"blocks.5.0.conv_dw"}),
    Family("mobilenetv2_050", 1280, "gem", EFFICIENT, {"blocks.5.0.conv_dw"}),
    Family("mobilenetv3_small_050", 288, "average", EFFICIENT, {"blocks.4.0.conv_dw"}),
    Family("convnext_atto", 320, "average", ("stem",), DILATED),
    Family("convnextv2_atto", 320, "average", ("stem",), DILATED),
    Family("resnet50_clip", 2048, "gem", ("stem",), {"stages.3.0.conv2_kxk.aa", "stages.3.0.shortcut.pool"}),
    Family("swin_tiny_patch4_window7_224", 192, "average", ("patch_embed",), None, NARROW),
    Family("swinv2_tiny_window8_256", 192, "average", ("patch_embed",), None, NARROW),
    Family("vit_tiny_patch16_224", 192, "token", ("patch_embed",), set(), SHALLOW),
    Family("deit_tiny_patch16_224", 192, "token", ("patch_embed",), set(), SHALLOW),
    Family("vit_base_patch32_clip_224", 768, "token", ("patch_embed",), set(), SHALLOW),
    Family("vit_small_patch14_dinov2", 384, "token", ("patch_embed",), set(), SHALLOW),
    Family("vit_small_patch14_reg4_dinov2", 384, "token", ("patch_embed",), set(), SHALLOW),
    Family("eva02_tiny_patch14_224", 192, "average", ("patch_embed",), set(), SHALLOW),
    Family("vit_small_patch16_dinov3", 384, "average", ("patch_embed",), set(), SHALLOW),
]
V, IR, DV, DI = Modality
ROWS = (V, V, IR, IR, DV, DI)
every_family = pytest.mark.parametrize("family", FAMILIES, ids=[family.name for family in FAMILIES])


def size_of(family: Family) -> tuple[int, int]:
    """A height and a width that the model's patches divide."""
    return (56, 28) if "patch14" in family.name else (64, 32)


def images_of(family: Family) -> torch.Tensor:
    return torch.randn(len(ROWS), 3, *size_of(family), generator=torch.Generator().manual_seed(1))


def backbone_of(family: Family, last_stride: int) -> nn.Module:
    height, width = size_of(family)
    return create_backbone(
        family.name,
        height=height,
        width=width,
        pretrained=False,
        weights=None,
        last_stride=last_stride,
        kwargs=family.kwargs,
    ).eval()


def strides(backbone: nn.Module) -> dict[str, Any]:
    """Stride, and dilation of what isn't 1 x 1, by name of a layer."""
    found = {}
    for name, layer in backbone.named_modules():
        if not [*layer.children()] and hasattr(layer, "stride"):
            dilation = getattr(layer, "dilation", 1) if getattr(layer, "kernel_size", 1) != (1, 1) else (1, 1)
            found[name] = (layer.stride, dilation)
    return found


@every_family
def test_a_family_trains_and_is_evaluated(family: Family) -> None:
    stride = 2 if family.changed is None else 1
    height, width = size_of(family)
    asked = {"kwargs": family.kwargs}
    network = make_network(family.name, height, width, stride, "auto", learned_derivations=(DI,), asked=asked)
    assert (network.backbone.num_features, network.pooling.kind) == (family.width, family.pooling)
    assert [*network.stems] == ["visible", "infrared"]
    assert tuple(name for name, _ in network.stems["visible"].named_children()) == family.stem
    images = images_of(family)
    output = network(images, ROWS)
    assert output.pooled.shape == (len(ROWS), family.width)
    loss = output.logits.square().mean() + output.pooled.square().mean()
    loss.backward()
    assert torch.isfinite(loss)
    trained = {name: p.grad for name, p in network.named_parameters() if p.requires_grad}
    assert [name for name, gradient in trained.items() if gradient is None or not gradient.isfinite().all()] == []
    network.eval()
    with torch.no_grad():
        together = network(images, ROWS).embedding
        for row in (0, len(ROWS) - 1):
            alone = network(images[row : row + 1], ROWS[row : row + 1]).embedding
            torch.testing.assert_close(alone[0], together[row], rtol=1e-4, atol=1e-4)


@every_family
def test_a_stride_is_gone_where_it_was_asked_and_nowhere_else(family: Family) -> None:
    two = backbone_of(family, 2)
    if family.changed is None:
        with pytest.raises(ValueError, match=f"{family.name} is of another: set it to 2"):
            backbone_of(family, 1)
        return
    one = backbone_of(family, 1)
    images = images_of(family)[:1]
    with torch.no_grad():
        map_of_two, map_of_one = two.forward_features(images), one.forward_features(images)
    if not family.changed:
        assert map_of_one.shape == map_of_two.shape == (1, len(map_of_one[0]), family.width)
    else:
        assert map_of_two.shape == (1, family.width, 2, 1) and map_of_one.shape == (1, family.width, 4, 2)
    before, after = strides(two), strides(one)
    assert {name for name in before if before[name] != after.get(name)} == family.changed
    assert {k: v.shape for k, v in one.state_dict().items()} == {k: v.shape for k, v in two.state_dict().items()}


def test_every_family_with_stems_is_in_the_table() -> None:
    built = {model_entrypoint(family.name).__annotations__["return"] for family in FAMILIES}
    assert [known.__name__ for known in STEMS if not any(issubclass(found, known) for found in built)] == []


def print_table() -> None:
    line = "{:30} {:22} {:26} {:8} {:>5}".format
    print(line("model", "stem", "last stride 1", "pooling", "width"))
    for family in FAMILIES:
        height, width = size_of(family)
        network = make_network(family.name, height, width, asked={"kwargs": family.kwargs})
        stem = "+".join(name for name, _ in network.stems["visible"].named_children())
        try:
            shape = tuple(backbone_of(family, 1).forward_features(images_of(family)[:1]).shape[1:])
            stride = "no such stride" if not family.changed else f"map {shape[1]}x{shape[2]} instead of 2x1"
        except ValueError:
            stride = "refused: 2"
        print(line(family.name, stem, stride, network.pooling.kind, network.backbone.num_features))


if __name__ == "__main__":
    print_table()
