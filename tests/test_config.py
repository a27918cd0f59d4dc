import re
import tokenize
from pathlib import Path

import pytest
from timm.models import split_model_name_tag

from pipeline import config
from pipeline.cli.config import main
from pipeline.config import describe, load_config, to_yaml
from pipeline.settings import Settings

CONFIGS = sorted(Path("configs").rglob("*.yaml"))


def test_without_files_the_defaults_are_the_papers_recipe():
    settings = load_config([])
    assert (settings.augment.height, settings.augment.width, settings.augment.pad) == (288, 144, 10)
    assert (settings.batch.ids_per_batch, settings.batch.images_per_modality) == (8, 4)
    assert (settings.optimizer.name, settings.optimizer.lr, settings.optimizer.weight_decay) == ("sgd", 0.1, 5e-4)
    assert settings.optimizer.lr * settings.optimizer.backbone_lr_mult == pytest.approx(0.01)
    assert (settings.train.epochs, settings.optimizer.milestones) == (80, [20.0, 50.0])
    assert settings.augment.random_erasing_prob == settings.losses["identity"].label_smoothing == 0
    assert settings.losses["intra"].margin == settings.losses["cross"].margin == 0.3
    assert settings.model.backbone == "resnet50.tv_in1k"  # what AGW's public code starts from


@pytest.mark.parametrize("file", CONFIGS, ids=str)
def test_every_config_of_the_project_loads(file):
    settings = load_config([str(file)])
    assert settings.name.startswith(file.stem)
    assert split_model_name_tag(settings.model.backbone)[1] or not settings.model.pretrained, "which weights?"


def test_a_base_is_overridden_by_its_file_and_a_file_by_the_next_one_and_all_by_arguments(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "a.yaml").write_text("seed: 1\ntrain: {epochs: 5, log_steps: 7}\n")
    (tmp_path / "below" / "b.yaml").write_text("base: ../a.yaml\ntrain: {epochs: 6}\n")
    (tmp_path / "c.yaml").write_text("train: {grad_accum_steps: 2}\n")
    files = [str(tmp_path / "below" / "b.yaml"), str(tmp_path / "c.yaml")]
    settings = load_config([*files, "train.grad_accum_steps=3", "optimizer.clip_grad_norm=1.5"])
    assert (settings.seed, settings.train.epochs, settings.train.log_steps) == (1, 6, 7)
    assert (settings.train.grad_accum_steps, settings.optimizer.clip_grad_norm) == (3, 1.5)
    assert settings.name == "b-c-seed1"


def test_a_file_whose_path_has_an_equals_sign_is_a_file(tmp_path, monkeypatch):
    (tmp_path / "lr=0.1").mkdir()
    (tmp_path / "lr=0.1" / "a.yaml").write_text("seed: 1\n")
    assert load_config([str(tmp_path / "lr=0.1" / "a.yaml"), "train.epochs=6"]).seed == 1
    monkeypatch.chdir(tmp_path)
    assert load_config(["lr=0.1/a.yaml", "seed=2"]).seed == 2


def test_lists_are_replaced_whole():
    settings = load_config(["configs/ablation/mdl1.yaml"])
    assert settings.batch.modalities == ["visible", "infrared", "infrared_derived"]
    assert settings.losses["cross"].pairs == [["infrared", "visible"], ["visible", "infrared_derived"]]


def test_instances_share_no_lists():
    Settings().batch.modalities.append("x")
    assert "x" not in Settings().batch.modalities


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("optimzer.lr=3", "unknown key optimzer; the nearest is optimizer.lr"),
        ("lr=3", "unknown key lr; the nearest is optimizer.lr"),
        ("data.rot=x", "unknown key data.rot; the nearest is data.root"),
        ("train.epochs=ten", "train.epochs: Value 'ten'"),
        ("train.epochs=2.5", "train.epochs: Value '2.5'"),
        ("data=3", "data: expected keys below it; found 3"),
        ("data.dataset=market", "data.dataset: expected one of sysu, "),
        ("augment.random_erasing_area=[1,x]", "wrong type in a list"),
        ("augment.hflip_prob=2", "augment.hflip_prob: expected at most 1; found 2.0"),
        ("seed=-1", "seed: expected at least 0; found -1"),
        ("augment.hflip_prob=nan", "augment.hflip_prob: expected at least 0; found nan"),
        ("batch.modalities=[thermal]", "batch.modalities: expected elements among visible, .*; found 'thermal'"),
        ("batch.modalities=[visible,visible]", "each element once"),
        ("name=[a", "not a value"),
    ],
)
def test_a_wrong_word_is_refused_in_one_line_that_names_it(argument, message):
    with pytest.raises(ValueError, match=message) as error:
        load_config([argument])
    assert str(error.value).startswith((argument, argument.split("=")[0]))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "not YAML"),
        ("- 1\n- 2", "expected keys with values; found a list"),
        ("3", "can't be read as keys with values"),
        ("seed: 1\nseed: 2", "not YAML: .* found duplicate key"),
        ("trian: {epochs: 3}", "unknown key trian"),
        ("base: self.yaml", "leads back to the file itself"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path, content, message):
    file = tmp_path / "self.yaml"
    file.write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        load_config([str(file)])
    assert "self.yaml" in str(error.value)


def test_a_missing_file_or_base_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.yaml"):
        load_config(["nowhere.yaml"])
    (tmp_path / "a.yaml").write_text("base: gone.yaml")
    with pytest.raises(FileNotFoundError, match=r"gone\.yaml"):
        load_config([str(tmp_path / "a.yaml")])
    with pytest.raises(ValueError, match="expected a configuration file"):
        load_config(["seed=1"], name_required=True)


def test_what_is_saved_loads_equal(tmp_path):
    settings = load_config(["configs/demo.yaml", "configs/ablation/mdl3.yaml", "optimizer.clip_grad_norm=2"])
    (tmp_path / "config.yaml").write_text(to_yaml(settings))
    assert load_config([str(tmp_path / "config.yaml")]) == settings


def test_every_key_is_explained(capsys):
    main([])
    printed = capsys.readouterr().out
    for name, _, meaning in describe(Settings()):
        assert len(meaning) > 3
        assert f"{name}: " in printed and meaning in printed


def test_one_word_where_a_list_is_expected_is_a_list_of_it(tmp_path):
    file = tmp_path / "short.yaml"
    file.write_text("derive: {visible: weighted_gray}\nevaluation: {shots: multi}\n")
    settings = load_config([str(file), "derive.infrared=gamma:0.5"])
    assert settings.derive.visible == ["weighted_gray"]
    assert settings.derive.infrared == ["gamma:0.5"]
    assert settings.evaluation.shots == ["multi"]


def strings_of(file):
    """The string literals of a module that aren't docstrings."""
    with open(file) as source:
        tokens = [token for token in tokenize.generate_tokens(source.readline) if token.type == tokenize.STRING]
    return [token.string for token in tokens if not token.string.lstrip("rfbRFB").startswith('"""')]


def test_every_key_that_a_message_names_exists():
    groups = {name.split(".")[0] for name in config.default_names() if "." in name}
    named = re.compile(rf"(?<![\w./-])(?:{'|'.join(sorted(groups))})(?:\.[a-z_]+)+(?![\w.({{])")
    files = [file for file in Path("pipeline").rglob("*.py") if file.name != "former.py"]
    found = {name for file in files for text in strings_of(file) for name in named.findall(text)}
    files_and_attributes = {"batch.png", "model.safetensors", "batch.identity"}
    keys = {name for name in found - files_and_attributes if not name.startswith(config.PARTS)}
    assert len(keys) > 30 and {name for name in keys if not config.is_known(name)} == set()
