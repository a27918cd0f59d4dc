from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from pipeline.models import backbone as backbones
from pipeline.models.backbone import create_backbone
from pipeline.models.weights import digest, load_backbone_weights, weights_origin


def _model(name: str = "resnet10t", classes: int = 0, **keywords: object) -> nn.Module:
    return timm.create_model(name, num_classes=classes, global_pool="" if classes == 0 else None, **keywords)


def _save(state: dict[str, torch.Tensor], path: Path) -> str:
    if path.suffix == ".safetensors":
        save_file(state, str(path))
    else:
        torch.save(state, path)
    return str(path)


def _assert_equal_weights(backbone: nn.Module, source: nn.Module, skip: tuple[str, ...] = ()) -> None:
    expected = source.state_dict()
    for key, tensor in backbone.state_dict().items():
        if not key.startswith(skip):
            assert torch.equal(tensor, expected[key]), key


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("name", ["resnet10t", "convnext_atto", "test_vit"])
def test_round_trip_of_a_classifier(tmp_path: Path, name: str, suffix: str) -> None:
    source, backbone = _model(name, classes=5), _model(name)
    load_backbone_weights(backbone, _save(source.state_dict(), tmp_path / f"weights{suffix}"))
    _assert_equal_weights(backbone, source)


def test_checkpoint_with_wrapping_and_prefix(tmp_path: Path) -> None:
    source, backbone = _model(classes=5), _model()
    state = {f"module.{key}": tensor for key, tensor in source.state_dict().items()}
    load_backbone_weights(backbone, _save({"epoch": 3, "state_dict": state}, tmp_path / "weights.pth"))
    _assert_equal_weights(backbone, source)


def test_batch_norm_counters_may_be_missing(tmp_path: Path) -> None:
    source, backbone = _model(), _model()
    state = {key: tensor for key, tensor in source.state_dict().items() if not key.endswith("num_batches_tracked")}
    load_backbone_weights(backbone, _save(state, tmp_path / "weights.safetensors"))
    _assert_equal_weights(backbone, source)


def test_foreign_key_names_are_converted(tmp_path: Path) -> None:
    """The names of ConvNeXt's own authors."""
    source, backbone = _model("convnext_atto", classes=5), _model("convnext_atto")
    state = {}
    for key, tensor in source.state_dict().items():
        key = key.replace(".blocks.", ".").replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
        key = key.replace("stem.", "downsample_layers.0.").replace("head.norm", "norm").replace("head.fc", "head")
        for stage in (1, 2, 3):
            key = key.replace(f"stages.{stage}.downsample.", f"downsample_layers.{stage}.")
        state[key] = tensor
    load_backbone_weights(backbone, _save(state, tmp_path / "weights.pth"))
    _assert_equal_weights(backbone, source)


def test_position_embedding_is_resized(tmp_path: Path) -> None:
    source, backbone = _model("test_vit", img_size=(64, 64)), _model("test_vit", img_size=(64, 32))
    assert source.pos_embed.shape != backbone.pos_embed.shape
    load_backbone_weights(backbone, _save(source.state_dict(), tmp_path / "weights.pth"))
    _assert_equal_weights(backbone, source, skip=("pos_embed",))
    prefix = backbone.num_prefix_tokens if not backbone.no_embed_class else 0
    assert torch.equal(backbone.pos_embed[:, :prefix], source.pos_embed[:, :prefix])


@pytest.mark.parametrize(
    ("other", "own"),
    [("resnet18", "resnet10t"), ("resnet18", "resnet34"), ("resnet34", "resnet18"), ("convnext_atto", "convnext_pico")],
)
def test_file_of_another_model(tmp_path: Path, other: str, own: str) -> None:
    backbone = _model(own)
    before = {key: tensor.clone() for key, tensor in backbone.state_dict().items()}
    path = _save(_model(other).state_dict(), tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other.pth is not for this backbone: \d+ of its \d+ tensors match") as caught:
        load_backbone_weights(backbone, path)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(tensor, before[key]) for key, tensor in backbone.state_dict().items())


def test_counts_and_names_the_difference(tmp_path: Path) -> None:
    state = _model().state_dict()
    needed = [key for key in state if not key.endswith("num_batches_tracked")]
    del state["layer1.0.conv1.weight"]
    with pytest.raises(ValueError) as caught:
        load_backbone_weights(_model(), _save(state, tmp_path / "short.pth"))
    assert f"{len(needed) - 1} of its {len(needed)} tensors match" in str(caught.value)
    assert "first difference: layer1.0.conv1.weight" in str(caught.value)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_file_that_holds_no_weights(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"text{suffix}"
    path.write_text("not weights\n" * 10)
    with pytest.raises(ValueError, match="holds no weights that timm can read") as caught:
        load_backbone_weights(_model(), str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[1, 2, 3], {"epoch": 3, "loss": 0.5}, torch.zeros(3)])
def test_pth_that_holds_something_else(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="holds no weights that timm can read"):
        load_backbone_weights(_model(), str(tmp_path / "other.pth"))


# ---------------------------------------------------------------- what they are


def _flat(backbone: nn.Module) -> torch.Tensor:
    return torch.cat([tensor.flatten().double() for _, tensor in sorted(backbone.state_dict().items())])


def test_the_digest_tells_every_value_and_name_apart() -> None:
    torch.manual_seed(0)
    first = _model()
    torch.manual_seed(0)
    again = _model()
    assert torch.equal(_flat(first), _flat(again)) and digest(first) == digest(again)
    kept = digest(first)
    for key, tensor in first.state_dict().items():
        if key.endswith("num_batches_tracked"):
            tensor += 1  # no result depends on it, and files may lack it
            assert digest(first) == kept
            continue
        value = tensor.flatten()[-1].clone()
        tensor.view(-1)[-1] = torch.nextafter(value, value + 1)
        assert digest(first) != kept, key
        tensor.view(-1)[-1] = value
    assert digest(first) == kept and digest(_model("resnet18")) != kept


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_the_same_weights_have_one_digest_however_they_are_kept(tmp_path: Path, suffix: str) -> None:
    source = _model(classes=5)
    file = _save(source.state_dict(), tmp_path / f"weights{suffix}")
    sizes = {"height": 64, "width": 32, "pretrained": True, "last_stride": 1}
    assert create_backbone("resnet10t", weights=file, **sizes).origin == f"file {digest(source)[:16]}"
    assert create_backbone("resnet10t", weights=None, **sizes | {"pretrained": False}).origin == "random"


def test_position_embeddings_that_are_resampled_do_not_count() -> None:
    backbone = timm.create_model("test_vit", num_classes=0)
    before = digest(backbone)
    with torch.no_grad():
        backbone.pos_embed.add_(1)
    assert digest(backbone) == before


@pytest.mark.parametrize(("name", "tag"), [("resnet50.tv_in1k", "resnet50.tv_in1k"), ("resnet50", "resnet50.a1_in1k")])
def test_fetched_weights_are_called_by_their_resolved_tag(name: str, tag: str) -> None:
    backbone = _model(name)  # as if timm had fetched them
    assert weights_origin(backbone, True, None) == f"{tag} {digest(backbone)[:16]}"


@pytest.mark.parametrize(
    ("name", "late"), [("eva02_tiny_patch14_224", True), ("vit_base_patch16_rpn_224", True), ("test_vit", False)]
)
def test_fetched_weights_of_a_norm_behind_the_pooling_are_those_of_the_last_norm(
    tmp_path: Path, name: str, late: bool
) -> None:
    """timm drops or refuses them where it is asked for no pooling; a file stands for what it would fetch."""
    source = timm.create_model(name, depth=1)
    norm = source.fc_norm if late else source.norm
    torch.nn.init.normal_(norm.weight)
    torch.save(source.state_dict(), tmp_path / "fetched.pth")
    fetched = {"pretrained_cfg_overlay": {"file": str(tmp_path / "fetched.pth")}, "depth": 1}
    backbone = backbones._build(name, True, fetched)
    assert torch.equal(backbone.norm.weight, norm.weight)
    assert backbone.state_dict().keys() == backbones._build(name, False, {"depth": 1}).state_dict().keys()
    size = source.pretrained_cfg["input_size"][-1]
    source.norm, source.fc_norm = norm, nn.Identity()
    images = torch.randn(1, 3, size, size)
    with torch.no_grad():
        assert torch.equal(backbone.eval().forward_features(images), source.eval().forward_features(images))
