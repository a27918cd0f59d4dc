import dataclasses
import hashlib
import json
import re
import tokenize
from pathlib import Path

import pytest
import yaml
from timm.models import split_model_name_tag

from pipeline import config, former
from pipeline.cli.config import main
from pipeline.config import describe, load_config, load_kept, to_yaml
from pipeline.recipe import config_hash, decides_weights
from pipeline.settings import ModelSettings, Settings
from pipeline.settings_key import key

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


def test_the_hash_tells_weights_apart_and_nothing_else():
    base = config_hash(load_config([]))
    assert config_hash(load_config(["name=x", "data.root=/y", "loader.threads=3", "evaluation.flip=true"])) == base
    assert config_hash(load_config(["seed=1"])) != base
    assert config_hash(load_config(["losses.intra.margin=0.4"])) != base


# What each key that decides the weights was at first where it wasn't given. A key that is added is added here; a value
# that changes would change the hashes of all recipes: give the earlier one in pipeline.former.FIRST_DEFAULTS.
FIRST = """
seed: 0
data: {dataset: sysu, trial: 1, train_splits: [train, val], test_fraction: 0.5, split_seed: 0, split_file: null}
batch:
  ids_per_batch: 8
  images_per_modality: 4
  modalities: [visible, infrared, visible_derived, infrared_derived]
  repeat_images: true
augment:
  height: 288
  width: 144
  pad: 10
  flip: 0.5
  erasing: 0.0
  erasing_area: [0.02, 0.4]
  erasing_aspect: 0.3
  derivative_geometry: own
derive: {visible: [grey], infrared: [spectrum], mixing: none, mixing_probability: 0.5}
model:
  backbone: resnet50
  pretrained: true
  weights: null
  stems: source
  last_stride: 1
  pooling: gem
  pool_power: 3.0
loss:
  identity: 1.0
  label_smoothing: 0.0
  intra: 1.0
  intra_modalities: null
  cross: 1.0
  cross_pairs: [[infrared, visible], [visible, infrared_derived], [infrared, visible_derived]]
  margin: 0.3
  reduction: mean
  mining: global
optimizer:
  name: sgd
  lr: 0.1
  backbone_factor: 0.1
  momentum: 0.9
  weight_decay: 0.0005
  schedule: step
  warmup_epochs: 10.0
  milestones: [20.0, 50.0]
  decay: 0.1
  clip: null
train: {epochs: 80, steps_per_epoch: null, accumulate: 1, ema: 0.0, channels_last: true, compile: false}
"""


# Keys that came later, with what was done before there were any.
SINCE = {
    "train.tf32": True,
    "augment.interpolation": "bilinear",
    "augment.mean": [0.485, 0.456, 0.406],
    "augment.std": [0.229, 0.224, 0.225],
    "model.ibn": "none",
    "model.drop_path": 0.0,
    "model.kwargs": {},
    "model.pool_power_trained": False,
    "train.freeze_backbone_epochs": 0.0,
    "optimizer.heads_lr_mult": 1.0,
    "optimizer.derivation_lr_mult": None,
    "optimizer.layer_decay": 1.0,
    "optimizer.decay_norm_bias": True,
    "optimizer.kwargs": {},
    "optimizer.schedule_unit": "epochs",
    "method.type": "one_objective",
    "heads.global.classifiers": "shared",
    **{f"losses.{name}.features": None for name in ("identity", "intra", "cross")},
    "validation.every_epochs": None,
    "validation.identities": 0.0,
    "validation.seed": 0,
    "validation.patience": None,
    "validation.metric": "mAP",
}


def test_the_first_defaults_stay_what_they_were():
    first = former.flatten(yaml.safe_load(FIRST))
    defaults = {name: value for name, value, _ in describe(Settings()) if decides_weights(name)}
    found = former.first_forms(defaults | former.FIRST_DEFAULTS)
    found = {name: value for name, value in found.items() if not name.endswith(".type") or name == "method.type"}
    assert json.dumps(found, sort_keys=True) == json.dumps(first | SINCE, sort_keys=True)


HASHES = {
    "b1.yaml": "8995f920",
    "b2.yaml": "01ae5405",
    "base_derivative.yaml": "dbbdd671",
    "mdl1.yaml": "151bca68",
    "mdl2.yaml": "25c7f66d",
    "mdl3.yaml": "d5bc9697",
    "mdl4.yaml": "dbbdd671",
    "demo.yaml": "b4919da1",
    "folder.yaml": "ea1e3e65",
    "llcm.yaml": "70394e75",
    "regdb.yaml": "82e56f64",
    "sysu.yaml": "dbbdd671",
}


def test_the_hashes_of_recipes_stay_what_they_were():
    found = {file.name: config_hash(load_config([str(file)])) for file in CONFIGS}
    assert found == HASHES


@dataclasses.dataclass(frozen=True)
class GrownModel(ModelSettings):
    neck: str = key("bn", "a key of a later version")


@dataclasses.dataclass(frozen=True)
class GrownSettings(Settings):
    model: GrownModel = key(GrownModel, "the network")


def test_a_new_key_changes_no_hash_unless_it_is_given(monkeypatch):
    arguments = ["configs/demo.yaml", "seed=3"]
    before = config_hash(load_config(arguments))
    monkeypatch.setattr(config, "Settings", GrownSettings)
    monkeypatch.setattr(config, "default_settings", GrownSettings)
    assert config_hash(load_config(arguments)) == before != config_hash(load_config([*arguments, "model.neck=none"]))
    # where what was done before isn't the default now
    monkeypatch.setitem(former.FIRST_DEFAULTS, "model.neck", "none")
    assert config_hash(load_config([*arguments, "model.neck=none"])) == before != config_hash(load_config(arguments))


def test_auto_pooling_hashes_as_what_it_stands_for_in_the_recipes():
    hashes = {word: config_hash(load_config([f"model.pooling={word}"])) for word in ("auto", "gem", "average", "token")}
    assert hashes["auto"] == hashes["gem"] == HASHES["sysu.yaml"] and len(set(hashes.values())) == 3


def test_keyword_arguments_are_kept_whole_and_count(tmp_path):
    arguments = ["model.kwargs.depths=[1,2]", "model.kwargs.deep.name=x"]
    settings = load_config(arguments)
    assert settings.model.kwargs == {"depths": [1, 2], "deep": {"name": "x"}}
    (tmp_path / "config.yaml").write_text(to_yaml(settings))
    assert load_kept(tmp_path / "config.yaml") == settings
    assert config.read_kept(tmp_path / "config.yaml")[1] == []
    assert len({config_hash(load_config(arguments[:count])) for count in range(3)}) == 3


VALIDATED = ["validation.every_epochs=5", "validation.metric=rank_1"]


@pytest.mark.parametrize(
    ("arguments", "same"),
    [
        (VALIDATED, True),
        (["validation.seed=3"], True),
        (["validation.identities=0.1"], False),
        (["validation.identities=0.1", "validation.seed=3", *VALIDATED], False),
        (["validation.selection=best"], True),
        ([*VALIDATED, "validation.selection=best"], False),
        ([*VALIDATED, "validation.patience=3"], False),
    ],
)
def test_validations_count_where_the_weights_depend_on_them(arguments, same):
    first = config_hash(load_config(["configs/demo.yaml"]))
    assert (config_hash(load_config(["configs/demo.yaml", *arguments])) == first) == same


def test_other_people_or_another_metric_make_other_weights():
    base = ["configs/demo.yaml", "validation.identities=0.1", "validation.patience=2", "validation.every_epochs=1"]
    changes = [[], ["validation.seed=1"], ["validation.metric=mINP"], ["validation.every_epochs=2"]]
    assert len({config_hash(load_config([*base, *change])) for change in changes}) == len(changes)


def hash_of(**values):
    """By hand, of what differs from the first defaults."""
    text = json.dumps({name.replace("__", "."): value for name, value in values.items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def test_a_hash_is_of_first_names_values_and_defaults(monkeypatch):
    backbone = {"model__backbone": "resnet50.tv_in1k"}
    assert config_hash(load_config(["model.backbone=resnet50"])) == hash_of()
    assert config_hash(load_config([])) == hash_of(**backbone)
    average = load_config(["model.pooling=average", "optimizer.milestones=[20,60]"])
    assert config_hash(average) == hash_of(**backbone, model__pooling="average", optimizer__milestones=[20.0, 60.0])
    monkeypatch.setitem(former.KEYS, "model.pool", ("model.pooling",))
    monkeypatch.setitem(former.VALUES, ("model.pooling", "mean"), "average")
    assert config_hash(average) == hash_of(**backbone, model__pool="mean", optimizer__milestones=[20.0, 60.0])
    monkeypatch.setitem(former.FIRST_DEFAULTS, "model.pooling", "average")
    assert config_hash(average) == hash_of(**backbone, optimizer__milestones=[20.0, 60.0])
    assert config_hash(load_config([])) == hash_of(**backbone, model__pool="gem")


def write_kept(path, *changes):
    text = to_yaml(load_config(["name=kept", "train.epochs=7"]))
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    path.write_text(text)
    return path


def test_what_an_older_version_kept_is_read_by_todays_names(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(former.KEYS, "optimizer.rate", ("optimizer.lr",))
    monkeypatch.setitem(former.VALUES, ("batch.modalities", "thermal"), "infrared")
    changes = [
        ("  lr: 0.1", "  rate: 0.3"),
        ("  - infrared\n", "  - thermal\n"),
        ("  backbone: resnet50.tv_in1k\n", ""),
        ("  pooling: auto\n", ""),
    ]
    file = write_kept(tmp_path / "config.yaml", *changes)
    settings = load_kept(file, ["evaluation.flip=true"])
    assert (settings.name, settings.train.epochs, settings.optimizer.lr) == ("kept", 7, 0.3)
    assert settings.batch.modalities[1] == "infrared" and settings.evaluation.flip
    assert settings.model.backbone == "resnet50", "what a run without the key was trained from"
    assert settings.model.pooling == "gem", "what a run without the key was trained with"
    assert not caplog.records
    with pytest.raises(ValueError, match=r"unknown key optimizer\.rate; optimizer\.rate is optimizer\.lr now"):
        load_config([str(file)])


def test_the_former_values_of_norm_are_read(tmp_path):
    (tmp_path / "config.yaml").write_text("train: {norm: synchronised, epochs: 7}\n")
    values, unknown = config.read_kept(tmp_path / "config.yaml")
    assert values["train"] == {"norm": "auto", "epochs": 7} and unknown == []


def test_a_mapping_of_any_names_is_kept_read_and_counted(tmp_path):
    (tmp_path / "mine.yaml").write_text("optimizer: {name: adam, kwargs: {betas: [0.5, 0.9], eps: 1e-6}}\n")
    settings = load_config([str(tmp_path / "mine.yaml")])
    assert settings.optimizer.kwargs == {"betas": [0.5, 0.9], "eps": 1e-6}
    (tmp_path / "config.yaml").write_text(to_yaml(settings))
    values, unknown = config.read_kept(tmp_path / "config.yaml")
    assert unknown == [] and values["optimizer"]["kwargs"] == settings.optimizer.kwargs
    assert load_kept(tmp_path / "config.yaml").optimizer == settings.optimizer
    words = ["optimizer.name=adam", "optimizer.kwargs.eps=1e-6", "optimizer.kwargs.betas=[0.5,0.9]"]
    assert config_hash(load_config(words)) == config_hash(settings) != config_hash(load_config(words[:2]))


def test_the_former_name_of_the_warm_up_is_read(tmp_path):
    file = write_kept(tmp_path / "config.yaml", ("  warmup: 10.0", "  warmup_epochs: 3.0"))
    assert load_kept(file).optimizer.warmup == 3
    with pytest.raises(ValueError, match=r"unknown key optimizer\.warmup_epochs; .* is optimizer\.warmup now"):
        load_config(["optimizer.warmup_epochs=3"])


def test_a_kept_key_that_is_gone_is_warned_of_and_a_users_own_is_refused(tmp_path, caplog):
    file = write_kept(
        tmp_path / "config.yaml", ("  lr: 0.1", "  lr: 0.1\n  warp: 9"), ("model:", "old: {deep: 1}\nmodel:")
    )
    assert load_kept(file).optimizer.lr == 0.1
    (record,) = caplog.records
    assert "settings that this one doesn't have: old.deep, optimizer.warp" in record.getMessage()
    with pytest.raises(ValueError, match="unknown key old"):
        load_config([str(file)])
    with pytest.raises(ValueError, match="unknown key optimizer.warp"):
        load_kept(file, ["optimizer.warp=3"])


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
    assert len(keys) > 30 and keys - config.default_names() == set()
