import dataclasses

import pytest
import timm

from dali_ops.normalize import IMAGENET, Normalization
from pipeline.config import load_config, load_kept, to_yaml
from pipeline.normalization import normalization_by_timm, normalization_of, with_normalization
from pipeline.recipe import config_hash

HALF = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CLIP = Normalization((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))  # Radford et al., 2021


def of(*arguments):
    return normalization_of(load_config(["configs/sysu.yaml", *arguments]))


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        ("resnet50.tv_in1k", IMAGENET),
        ("tf_efficientnet_lite0", HALF),
        ("vit_base_patch16_224", HALF),
        ("vit_base_patch16_224.dino", IMAGENET),
        ("resnet50_clip.openai", CLIP),
        ("vit_base_patch14_dinov2", IMAGENET),
    ],
)
def test_weights_say_what_they_expect(backbone, expected):
    assert of(f"model.backbone={backbone}") == expected


@pytest.mark.parametrize("backbone", ["no_such_model", "resnet50.no_such_tag"])
def test_an_unknown_backbone_is_left_to_what_builds_it(backbone):
    assert of(f"model.backbone={backbone}") == IMAGENET


def test_every_backbone_of_timm_has_three_channels_to_normalize():
    for name in timm.list_pretrained():
        found = normalization_by_timm(name)
        assert len(found.mean) == len(found.std) == 3, name


def test_a_configuration_may_give_both_or_one():
    vit = "model.backbone=vit_base_patch16_224"
    assert of(vit, "augment.mean=[0.1,0.2,0.3]") == Normalization((0.1, 0.2, 0.3), HALF.std)
    assert of("augment.mean=[0.1,0.2,0.3]", "augment.std=[1,2,3]") == Normalization((0.1, 0.2, 0.3), (1.0, 2.0, 3.0))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("augment.mean=[0.1,0.2]", "augment.mean: expected 3 values; found 2"),
        ("augment.mean=[0,0,123]", "augment.mean: expected at most 1; found 123"),
        ("augment.std=[0,1,1]", "augment.std: expected at least 0.001; found 0"),
    ],
)
def test_impossible_values_are_refused(override, message):
    with pytest.raises(ValueError, match=message):
        of(override)


def test_weights_of_a_run_expect_what_it_was_trained_with(tmp_path):
    trained = with_normalization(load_config(["configs/sysu.yaml", "model.backbone=vit_base_patch16_224"]))
    (tmp_path / "config.yaml").write_text(to_yaml(trained))
    (tmp_path / "model.safetensors").touch()
    for weights in (tmp_path, tmp_path / "model.safetensors"):
        assert of(f"model.weights={weights}") == HALF
    assert of(f"model.weights={tmp_path}", "augment.std=[1,1,1]") == Normalization(HALF.mean, (1.0, 1.0, 1.0))
    (tmp_path / "config.yaml").unlink()
    assert of(f"model.weights={tmp_path / 'model.safetensors'}") == IMAGENET


def test_older_runs_had_that_of_imagenet(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("model: {backbone: vit_base_patch16_224}\n")
    kept = load_kept(file)
    assert normalization_of(kept) == IMAGENET
    now = with_normalization(load_config(["model.backbone=vit_base_patch16_224"]))
    assert config_hash(kept) != config_hash(now)


def test_what_the_weights_say_is_kept_and_changes_no_hash_where_it_is_as_ever(tmp_path):
    settings = load_config(["configs/demo.yaml"])
    resolved = with_normalization(settings)
    assert config_hash(resolved) == config_hash(settings)
    (tmp_path / "config.yaml").write_text(to_yaml(resolved))
    kept = load_kept(tmp_path / "config.yaml")
    assert dataclasses.replace(kept, name=resolved.name) == resolved
