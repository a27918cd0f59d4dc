"""Patches that overlap: as many as TransReID's, with resampled position embeddings, of every kind of weights."""

from itertools import pairwise

import pytest
import timm
import torch
from safetensors.torch import load_file
from timm.layers import resample_abs_pos_embed

from pipeline.config import load_config, to_yaml
from pipeline.methods.method import method_of
from pipeline.methods.network import build_network
from pipeline.models.backbone import create_backbone
from pipeline.models.parameter_groups import network_groups
from pipeline.models.patch_stride import size_side_by_side
from pipeline.run.checkpoint import save_weights
from tests.models.networks import make_network
from tests.models.weights.files import save, shuffled

FACTS = {"config": "abc", "epoch": "1", "replaced_images": "0", "identities": "5"}
SMALL = ["model.backbone=test_vit", "model.pretrained=false", "model.pooling=average"]
SMALL += ["augment.height=64", "augment.width=32"]


def create(name="test_vit", height=64, width=32, stride=12, **changes):
    keywords = {"pretrained": False, "weights": None, "last_stride": 1, "patch_stride": stride}
    return create_backbone(name, height=height, width=width, **keywords | changes)


@pytest.mark.parametrize(
    ("size", "patch", "stride", "expected"),
    [
        ((256, 128), 16, 12, (21, 10)),  # TransReID's, PMT's and MIP's
        ((288, 144), 16, 10, (28, 13)),  # LAReViT's
        ((256, 128), 16, 16, (16, 8)),
        ((56, 28), 14, 7, (7, 3)),
    ],
)
def test_there_are_as_many_patches_as_a_convolution_makes(size, patch, stride, expected):
    made = torch.nn.Conv2d(3, 1, patch, stride)(torch.zeros(1, 3, *size)).shape[2:]
    built = size_side_by_side(size, (patch, patch), stride)
    assert tuple(made) == (built[0] // patch, built[1] // patch) == expected


# Class tokens, none, registers, CLIP's norm before the blocks, patches of 14, rotary position embeddings.
VITS = [
    ("test_vit", (64, 32), 12),
    ("vit_tiny_patch16_224", (64, 32), 12),
    ("deit_tiny_patch16_224", (64, 32), 10),
    ("vit_base_patch32_clip_224", (96, 64), 16),
    ("vit_small_patch14_dinov2", (56, 28), 7),
    ("vit_small_patch14_reg4_dinov2", (56, 28), 9),
    ("eva02_tiny_patch14_224", (56, 28), 7),
    ("vit_small_patch16_dinov3", (64, 32), 12),
]


@pytest.mark.parametrize(("name", "size", "stride"), VITS, ids=[name for name, *_ in VITS])
def test_every_kind_of_vit_trains_with_stride_drop_path_and_layer_decay(name, size, stride):
    asked = {"patch_stride": stride, "drop_path": 0.1, "kwargs": {} if name == "test_vit" else {"depth": 2}}
    network = make_network(name, *size, 1, "auto", asked=asked)
    patch = network.stems["visible"].patch_embed.patch_size
    rows, columns = (side // length for side, length in zip(size_side_by_side(size, patch, stride), patch, strict=True))
    assert network.backbone.token_grid == (rows, columns) and rows * columns > size[0] * size[1] // patch[0] ** 2
    tokens = []
    network.pooling.register_forward_pre_hook(lambda module, inputs: tokens.append(inputs[0].shape[1]))
    output = network(torch.randn(4, 3, *size, generator=torch.Generator().manual_seed(0)), (0, 1, 2, 3))
    assert tokens == [rows * columns + network.backbone.num_prefix_tokens]
    (output.logits.square().mean() + output.pooled.square().mean()).backward()
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in trained)
    groups = network_groups(network, load_config(["optimizer.layer_decay=0.8"]).optimizer)
    rates = [group["lr"] for group in groups if group["name"].startswith("backbone.layer_")]
    assert len(rates) >= len(network.backbone.blocks) + 1
    assert [one / next_ for one, next_ in pairwise(rates)] == pytest.approx([0.8] * (len(rates) - 1))
    assert network.backbone.blocks[-1].drop_path1.drop_prob == pytest.approx(0.1)


def test_a_patch_is_what_the_convolution_sees_there():
    backbone = create().eval()
    image = torch.randn(1, 3, 64, 32)
    tokens = backbone.patch_embed(image)
    for place, (row, column) in enumerate((row, column) for row in range(5) for column in range(2)):
        cut = image[:, :, 12 * row : 12 * row + 16, 12 * column : 12 * column + 16]
        expected = (cut * backbone.patch_embed.proj.weight).sum(dim=(1, 2, 3)) + backbone.patch_embed.proj.bias
        torch.testing.assert_close(tokens[0, place], expected, rtol=1e-4, atol=1e-5)


def test_the_stride_of_a_whole_patch_is_none():
    torch.manual_seed(0)
    plain = create(stride=None).eval()
    torch.manual_seed(0)
    same = create(stride=16).eval()
    image = torch.randn(1, 3, 64, 32)
    assert torch.equal(plain.forward_features(image), same.forward_features(image))


def test_position_embeddings_of_a_file_are_resampled_once_from_their_square(tmp_path):
    source = shuffled(timm.create_model("test_vit", num_classes=0, img_size=64))
    file = save(source.state_dict(), tmp_path / "weights.pth")
    made, before = create(weights=file).pos_embed, source.pos_embed
    assert torch.equal(made, resample_abs_pos_embed(before, [5, 2], [4, 4], num_prefix_tokens=1))


@pytest.mark.parametrize(("before", "grid"), [("8", [7, 3]), ("null", [4, 2])])
def test_position_embeddings_of_a_run_are_resampled_from_its_own_grid(tmp_path, before, grid):
    folder = tmp_path / "run"
    folder.mkdir()
    settings = load_config([*SMALL, f"model.patch_stride={before}"])
    (folder / "config.yaml").write_text(to_yaml(settings))
    save_weights(shuffled(build_network(settings, 5)), folder / "model.safetensors", FACTS)
    found = load_file(folder / "model.safetensors")["backbone.pos_embed"]
    new = load_config([*SMALL, "model.patch_stride=12", f"model.weights={folder}"])
    made = build_network(new, 7).backbone.pos_embed
    assert torch.equal(made, resample_abs_pos_embed(found, [5, 2], grid, num_prefix_tokens=1))


def test_position_embeddings_that_are_of_no_known_grid_are_refused(tmp_path):
    source = timm.create_model("test_vit", num_classes=0, img_size=(112, 48))  # 7 x 3 patches
    file = save(source.state_dict(), tmp_path / "weights.pth")
    expected = r"weights: weights.pth: expected position embeddings of a square of patches, or of the 5 x 2 of these"
    with pytest.raises(ValueError, match=expected) as caught:
        create(weights=file)
    assert "\n" not in str(caught.value)
    assert torch.equal(create(height=112, width=48, stride=16, weights=file).pos_embed, source.pos_embed)


@pytest.mark.parametrize(
    ("name", "stride", "message"),
    [
        ("resnet10t", 12, "is for timm's VisionTransformer, Eva with plain patches; resnet10t is another: set it to"),
        ("swin_tiny_patch4_window7_224", 3, "is for .* with plain patches; swin_tiny_patch4_window7_224 is another"),
        ("vit_tiny_r_s16_p8_224", 8, "is for .* with plain patches; vit_tiny_r_s16_p8_224 is another"),
        ("test_vit", 17, "expected 1 to 16, the side of a patch of test_vit; found 17"),
    ],
)
def test_a_stride_that_cannot_be_is_one_line(name, stride, message):
    with pytest.raises(ValueError, match=f"^patch_stride: {message}") as caught:
        create(name, stride=stride, last_stride=2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 12}, "height, width: expected a patch of test_vit, 16 x 16, or more; found 64 x 12"),
        ({"stride": 16, "width": 40}, "height, width: test_vit cuts images into 16 x 16 patches; found 64 x 40"),
    ],
)
def test_images_that_cannot_be_cut_are_one_line(changes, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        create(**changes)


def test_the_key_is_named():
    settings = load_config(["model.backbone=resnet10t", "model.pretrained=false", "model.patch_stride=12"])
    with pytest.raises(ValueError, match=r"^model\.patch_stride: is for timm's"):
        method_of(settings).build_tested(settings, 3)
