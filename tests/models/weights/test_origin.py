"""What weights are: their digest, and the tag that timm resolves."""

from pathlib import Path

import pytest
import timm
import torch

from pipeline.config import load_config
from pipeline.models import backbone as backbones
from pipeline.models.weights import digest, weights_origin
from tests.models.weights.files import model

CONFIGS = sorted((Path(__file__).parents[3] / "configs").rglob("*.yaml"))


def _flat(backbone):
    return torch.cat([tensor.flatten().double() for _, tensor in sorted(backbone.state_dict().items())])


def test_the_digest_tells_every_value_and_name_apart():
    torch.manual_seed(0)
    first = model()
    torch.manual_seed(0)
    again = model()
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
    assert digest(first) == kept and digest(model("test_convnext")) != kept


def test_position_embeddings_that_are_resampled_do_not_count():
    backbone = timm.create_model("test_vit", num_classes=0)
    before = digest(backbone)
    with torch.no_grad():
        backbone.pos_embed.add_(1)
    assert digest(backbone) == before


@pytest.mark.parametrize(("name", "tag"), [("resnet50.tv_in1k", "resnet50.tv_in1k"), ("resnet50", "resnet50.a1_in1k")])
def test_fetched_weights_are_called_by_their_resolved_tag(name, tag):
    backbone = model(name)  # as if timm had fetched them
    assert weights_origin(backbone, True, None) == f"{tag} {digest(backbone)[:16]}"


@pytest.mark.parametrize("config", CONFIGS, ids=lambda file: file.stem)
def test_every_shipped_configuration_names_its_weights(config):
    """timm's default tags change from version to version."""
    settings = load_config([str(config)]).model
    assert not settings.pretrained or settings.weights or "." in settings.backbone


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
    source.norm, source.fc_norm = norm, torch.nn.Identity()
    images = torch.randn(1, 3, size, size)
    with torch.no_grad():
        assert torch.equal(backbone.eval().forward_features(images), source.eval().forward_features(images))
