"""Recipes: which settings decide the weights, their hashes, and the names that former versions kept them by."""

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
import yaml

from pipeline import config, former
from pipeline.config import describe, load_config, load_kept, to_yaml
from pipeline.recipe import config_hash, decides_weights
from pipeline.settings import ModelSettings, Settings
from pipeline.settings_key import key

CONFIGS = sorted(Path("configs").rglob("*.yaml"))
METHODS = sorted(Path("configs/methods").glob("*.yaml"))


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
    "derive.learned": "x_modality",
    "model.stem_depth": "stem",
    "model.input": "color",
    "model.patch_stride": None,
    "optimizer.warmup_start": 0.1,
    "train.tf32": True,
    "augment.interpolation": "bilinear",
    "augment.pad_fill": 0,
    "augment.random_erasing_fill": [0.0, 0.0, 0.0],
    "augment.visible": [],
    "augment.infrared": [],
    "augment.modalities": {},
    "augment.mean": [0.485, 0.456, 0.406],
    "augment.std": [0.229, 0.224, 0.225],
    "model.last_stage": None,
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
    **{f"losses.{name}.joined": False for name in ("identity", "intra", "cross")},
    "losses.cross.mining": "hardest",
    **{f"losses.{name}.of": "pooled" for name in ("intra", "cross")},
    **{f"losses.{name}.unit_length": False for name in ("intra", "cross")},
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
    "agw.yaml": "66ff5907",
    "aligngan.yaml": "c6056300",
    "asymmetric_fc.yaml": "1aed178c",
    "b1.yaml": "8995f920",
    "b2.yaml": "01ae5405",
    "base_derivative.yaml": "dbbdd671",
    "bdtr.yaml": "724e5898",
    "caj.yaml": "d2037426",
    "caj_plus.yaml": "6586850b",
    "cmgan.yaml": "aa009db2",
    "d2rl.yaml": "61f86a71",
    "d_hsme.yaml": "7e424e4d",
    "deen.yaml": "93ef673a",
    "deen_regdb.yaml": "b4ea0bf8",
    "demo.yaml": "b4919da1",
    "ebdtr.yaml": "b138f550",
    "folder.yaml": "ea1e3e65",
    "hcml.yaml": "0de5bc1a",  # whose weights are TONE's
    "hct.yaml": "1a0aecaf",
    "hicmd.yaml": "576fc3e7",
    "hsme.yaml": "7d626612",
    "jsia.yaml": "e87f1ecb",
    "llcm.yaml": "70394e75",
    "mac.yaml": "2fd41c3e",
    "mace.yaml": "c4210537",
    "mdl1.yaml": "151bca68",
    "mdl2.yaml": "25c7f66d",
    "mdl3.yaml": "d5bc9697",
    "mdl4.yaml": "dbbdd671",
    "mpanet.yaml": "4706094b",
    "mmn.yaml": "dd49cb46",
    "modern_vit.yaml": "7016a0ca",
    "modern.yaml": "1b8546e6",
    "mscmnet.yaml": "b518e148",
    "msr.yaml": "2d2af81f",
    "one_stream.yaml": "2dc12ea4",
    "qct.yaml": "f2c5fa50",
    "regdb.yaml": "82e56f64",
    "small.yaml": "283c165d",
    "sysu.yaml": "dbbdd671",
    "tone.yaml": "0de5bc1a",
    "two_stream.yaml": "ec35a9c9",
    "xiv.yaml": "91fb93fd",
    "zero_padding.yaml": "be94f76c",
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


# What makes a method what it is, and what changes the speed alone; all else that decides weights is the recipe's.
OF_METHODS = {"batch.modalities", "augment.derivative_geometry", "model.stems", "model.ibn", "model.kwargs"}
OF_METHODS |= {"augment.visible", "augment.infrared"}
OF_METHODS |= {"augment.mean", "augment.std", "model.input", "model.stem_depth", "model.last_stage"}
OF_METHODS |= {"model.pooling", "model.pool_power", "model.pool_power_trained", "optimizer.kwargs"}
OF_SPEED = {"train.tf32", "train.channels_last", "train.compile"}


def test_the_small_recipe_names_all_that_decides_weights_but_the_method():
    groups = ("batch.", "augment.", "model.", "optimizer.", "train.")
    given = set(former.flatten(yaml.safe_load(Path("configs/small.yaml").read_text())))
    given = {"augment.modalities" if name.startswith("augment.modalities.") else name for name in given}
    deciding = {name for name in config.default_names() if name.startswith(groups) and decides_weights(name)}
    assert deciding - given == OF_METHODS | OF_SPEED and given - deciding == {"train.norm", "train.log_steps"}


@pytest.mark.parametrize("file", METHODS, ids=lambda file: file.stem)
def test_the_small_recipe_trains_every_method_alike_and_leaves_it_what_it_is(file):
    arguments = ["configs/demo.yaml", str(file)]
    full, small = (dict(flat(load_config([*arguments, *last]))) for last in ([], ["configs/small.yaml"]))
    demo = dict(flat(load_config(["configs/demo.yaml"])))
    recipe = former.flatten(yaml.safe_load(Path("configs/small.yaml").read_text()))
    assert small["name"] == f"demo-{file.stem}-small" and small["optimizer.kwargs"] == {}
    assert {name: small[name] for name in recipe} == {name: demo[name] for name in recipe}
    assert {name for name in full if full[name] != small[name]} <= {*recipe, "name", "optimizer.kwargs"}


def flat(settings):
    return ((name, value) for name, value, _ in describe(settings))


def test_a_file_that_names_an_optimizer_starts_without_the_arguments_of_another(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("optimizer: {name: sgd, kwargs: {nesterov: false}}\n")
    second.write_text("optimizer: {name: adam, kwargs: {eps: 1.0e-6}}\n")
    assert load_config([str(first), "optimizer.lr=1"]).optimizer.kwargs == {"nesterov": False}
    assert load_config([str(first), str(second)]).optimizer.kwargs == {"eps": 1e-6}
    second.write_text("optimizer: {lr: 0.2}\n")
    assert load_config([str(first), str(second)]).optimizer.kwargs == {"nesterov": False}


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
