"""Files of implementations with names of their own: matched by order, and the same function afterwards."""

from functools import partial

import pytest
import timm
import torch
import torchvision
from torch import nn
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.swin_transformer import SwinTransformer

from pipeline.models.backbone import create_backbone
from pipeline.models.weights.by_order import pair_by_order
from tests.models.weights.files import lite0, load, model, save, shuffled

tv = torchvision.models


def without_head(resnet):
    return nn.Sequential(*list(resnet.children())[:-2])


def tokens(vit):
    """(B, 1 + N, D): what torchvision's ViT passes to its classifier, of all tokens."""

    def forward(images):
        patches = vit._process_input(images)
        return vit.encoder(torch.cat([vit.class_token.expand(len(images), -1, -1), patches], 1))

    return forward


def swin_map(swin):
    return lambda images: swin.norm(swin.features(images))


SMALL_VIT = {"image_size": 32, "patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 32, "mlp_dim": 128}
TWIN_VIT = {"img_size": 32, "patch_size": 8, "depth": 2, "num_heads": 2, "embed_dim": 32}
BLOCKS = [CNBlockConfig(8, 16, 1), CNBlockConfig(16, 24, 2), CNBlockConfig(24, 32, 1), CNBlockConfig(32, None, 1)]
SMALL_SWIN = {"patch_size": [4, 4], "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": [4, 4]}
TWIN_SWIN = {"img_size": 32, "embed_dim": 16, "depths": (2, 2), "num_heads": (2, 4), "window_size": 4}

# torchvision's network, its map, and timm's
TORCHVISION = {
    "efficientnet_b0": (partial(tv.efficientnet_b0), lambda net: net.features, "efficientnet_b0", {}),
    "mobilenet_v2": (tv.mobilenet_v2, lambda net: net.features, "mobilenetv2_100", {}),
    "mobilenet_v3_small": (
        tv.mobilenet_v3_small,
        lambda net: net.features,
        "mobilenetv3_small_100",
        {"bn_eps": 1e-3},
    ),
    "convnext": (
        lambda: ConvNeXt(BLOCKS),
        lambda net: net.features,
        "convnext_tiny",
        {"depths": (1, 2, 1, 1), "dims": (8, 16, 24, 32)},
    ),
    "vit": (lambda: tv.VisionTransformer(**SMALL_VIT), tokens, "vit_tiny_patch16_224", TWIN_VIT),
    "swin": (lambda: SwinTransformer(**SMALL_SWIN), swin_map, "swin_tiny_patch4_window7_224", TWIN_SWIN),
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvisions_networks_are_the_same_functions_in_timm(name, tmp_path):
    build, features, twin, keywords = TORCHVISION[name]
    source, backbone = shuffled(build()), model(twin, **keywords).eval()
    taken = load(backbone, save({"model": source.state_dict()}, tmp_path / "weights.pth"))
    assert taken.by_order and taken.prefix == "model." and not taken.left
    assert "taken, by order and shape as the names differ" in taken.lines()[0]
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(backbone.forward_features(images), features(source)(images))


def test_torchvisions_resnet_has_timms_names(tmp_path):
    source, backbone = shuffled(tv.resnet18()), model("resnet18").eval()
    taken = load(backbone, save(source.state_dict(), tmp_path / "weights.pth"))
    assert not taken.by_order and taken.left_behind == ["fc.weight", "fc.bias"]
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(backbone.forward_features(images), without_head(source)(images))


def test_position_embeddings_of_another_size_are_resampled(tmp_path):
    source = shuffled(tv.VisionTransformer(**SMALL_VIT))
    path = save(source.state_dict(), tmp_path / "weights.pth")
    same, wide = (model("vit_tiny_patch16_224", **TWIN_VIT | {"img_size": size}) for size in (32, (32, 64)))
    load(same, path)
    taken = load(wide, path)
    assert taken.by_order and not taken.left
    assert wide.pos_embed.shape[1] == 1 + 4 * 8 and torch.equal(wide.pos_embed[:, 0], same.pos_embed[:, 0])
    assert torch.equal(wide.blocks[1].attn.qkv.weight, source.encoder.layers[1].self_attention.in_proj_weight)


@pytest.mark.parametrize(("theirs", "ours"), [("regnet_x_400mf", "regnetx_004"), ("shufflenet_v2_x0_5", "resnet18")])
def test_another_order_is_refused(theirs, ours, tmp_path):
    """torchvision's RegNets define the shortcut before the block, timm's behind it."""
    path = save(getattr(tv, theirs)().state_dict(), tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"weights\.pth is not for this backbone: .*found 0 of them"):
        load(model(ours), path)


def tensors(**shapes):
    return {name.replace("__", "."): torch.zeros(shape) for name, shape in shapes.items()}


OURS = tensors(token=(1, 1, 4), a__weight=(4, 3, 1, 1), n__weight=4, n__bias=4, m__weight=4, m__bias=4)
PAIRED = {
    "the order of unique shapes": ({"0.w": (4, 3), "1": 4, "2": 4, "3": 4, "4": 4, "z": (1, 1, 4)}, True),
    "a classifier behind": ({"0": (4, 3), "z": (1, 1, 4), "1": 4, "2": 4, "3": 4, "4": 4, "5": 4, "c": (9, 4)}, True),
    "one is missing": ({"0": (4, 3), "z": (1, 1, 4), "1": 4, "2": 4, "3": 4}, False),
    "too many behind": ({"0": (4, 3), "z": (1, 1, 4), **{str(number): 4 for number in range(1, 10)}}, False),
    "bias before weight": ({"0": (4, 3), "z": (1, 1, 4), "n.bias": 4, "n.weight": 4, "3": 4, "4": 4}, False),
    "another shape": ({"0": (4, 3), "z": (1, 4), "1": 4, "2": 4, "3": 4, "4": 4}, False),
}


@pytest.mark.parametrize("case", PAIRED)
def test_what_is_paired(case):
    shapes, fits = PAIRED[case]
    pairs = pair_by_order(OURS, {name: torch.zeros(shape) for name, shape in shapes.items()})
    assert (pairs is not None) == fits
    if fits:
        assert list(pairs) and {pairs[name] for name in ("a.weight", "token")} <= {"0", "0.w", "z"}
        assert [pairs[name] for name in ("n.weight", "n.bias", "m.weight", "m.bias")] == ["1", "2", "3", "4"]


def test_real_weights_of_another_implementation_are_loaded_whole():
    """The port of TensorFlow's EfficientNet-Lite0 has 245 tensors and a classifier of two."""
    made = create_backbone(
        "tf_efficientnet_lite0.in1k", height=64, width=32, pretrained=False, weights=str(lite0()), last_stride=2
    )
    first, second = made.taken.lines()
    assert first == (
        "efficientnet-lite0-57934424.pth: 245 of the 245 tensors of tf_efficientnet_lite0 taken, by order and "
        "shape as the names differ"
    )
    assert second == "left: of the backbone none; of the file 2 (_fc. 2: a classifier)"
    assert made.origin == "file c20f044c4119369e"


def test_real_weights_give_the_map_of_the_other_implementation():
    """Loaded by hand, tensor after tensor."""
    state = torch.load(lite0(), weights_only=True)
    backbone = model("tf_efficientnet_lite0").eval()
    load(backbone, lite0())
    whole = timm.create_model("tf_efficientnet_lite0").eval()
    pairs = zip(
        [name for name in whole.state_dict() if not name.endswith("num_batches_tracked")],
        [tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")],
        strict=True,
    )
    whole.load_state_dict(dict(pairs), strict=False)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(backbone.forward_features(images), whole.forward_features(images))
