"""What weights are: their digest, and the tag that timm resolves."""

from pathlib import Path

import pytest
import timm
import torch

from pipeline.config import load_config
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
