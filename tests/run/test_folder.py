import json
import os
from dataclasses import replace

import pandas as pd
import pytest

from pipeline.config import load_config
from pipeline.run.folder import (
    as_begun,
    check_same_run,
    code_version,
    open_run,
    read_environments,
    run_path,
    settings_of,
)
from pipeline.run.provenance import TrainingFacts
from pipeline.run.trained_identities import named_splits


@pytest.fixture()
def arguments(tmp_path):
    return [f"output={tmp_path}", "name=run", "optimizer.lr=0.05"]


def test_a_run_folder_says_how_and_where_it_was_trained(arguments, tmp_path):
    folder = open_run(load_config(arguments))
    assert folder == tmp_path / "run"
    assert settings_of(folder).optimizer.lr == 0.05
    (found,) = json.loads((folder / "env.json").read_text())
    assert found["packages"]["torch"] and found["cores"] == len(os.sched_getaffinity(0))
    assert found["code_version"] == code_version()


def begin(folder):
    """As if a checkpoint had been written."""
    (folder / "checkpoints" / "step-00000001").mkdir(parents=True)


def finish(folder):
    (folder / "model.safetensors").touch()


@pytest.mark.parametrize("train", [begin, finish])
def test_a_run_is_not_mixed_with_one_of_other_settings(train, arguments):
    train(open_run(load_config(arguments)))
    open_run(load_config([*arguments, "loader.threads=3", "evaluation.flip=true", "train.checkpoint_steps=5"]))
    with pytest.raises(ValueError, match=r"optimizer\.lr=0\.05; found 0\.06") as error:
        open_run(load_config([*arguments, "optimizer.lr=0.06"]))
    assert "\n" not in str(error.value)


def test_a_start_that_failed_before_anything_was_kept_leaves_the_name_to_others(arguments):
    folder = open_run(load_config(arguments), KEPT)
    (folder / "checkpoints" / "unfinished-00000001").mkdir(parents=True)
    other = KEPT | {"dora": "train"}
    assert open_run(load_config([*arguments, "optimizer.lr=0.06", "train.resume=never"]), other) == folder
    assert settings_of(folder).optimizer.lr == 0.06 and "dora,train" in (folder / "split.csv").read_text()
    open_run(load_config([*arguments, "data.dataset=sysu"]), {})
    assert not (folder / "split.csv").exists()
    begin(folder)
    with pytest.raises(ValueError, match=r"data\.dataset=\"sysu\"; found \"folder\""):
        open_run(load_config([*arguments, "data.dataset=folder"]), KEPT)


def test_never_resuming_refuses_a_folder_with_checkpoints(arguments):
    folder = open_run(load_config([*arguments, "train.resume=never"]))
    open_run(load_config([*arguments, "train.resume=never"]))
    begin(folder)
    with pytest.raises(ValueError, match=r"train\.resume is never"):
        open_run(load_config([*arguments, "train.resume=never"]))


def test_the_split_of_a_users_people_is_kept_by_name(arguments, tmp_path):
    index = pd.DataFrame(
        {"identity": [10, 2, 2, 30], "split": ["train", "test", "test", "val"], "name": ["k10", "k2", "k2", "k30"]}
    )
    folder = open_run(load_config(arguments), named_splits(index))
    assert (folder / "split.csv").read_text() == "identity,split\nk2,test\nk10,train\nk30,val\n"
    assert named_splits(index.drop(columns="name")) == {}
    assert not (open_run(load_config([*arguments, "name=unnamed"]), {}) / "split.csv").exists()


KEPT = {"anna": "train", "bert": "test", "carl": "val"}


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (KEPT | {"dora": "train"}, r"'dora' is not among them but in the training data now \(1 differ\)"),
        (KEPT | {"carl": "test"}, r"'carl' is among them and not in the training data now \(1 differ\)"),
        ({"bert": "train", "carl": "val"}, r"'anna' is among them and not in the training data now \(2 differ\)"),
        ({"carl": "val", "bert": "test", "anna": "train"}, "found them numbered in another order"),
        ({}, r"\(2 differ\)"),
    ],
)
def test_a_run_is_not_continued_on_other_people(arguments, now, message):
    folder = open_run(load_config(arguments), KEPT)
    begin(folder)
    before = (folder / "split.csv").read_text()
    with pytest.raises(ValueError, match=message) as error:
        open_run(load_config(arguments), now)
    assert f"Add data.split_file={folder / 'split.csv'} or choose another name=" in str(error.value)
    assert (folder / "split.csv").read_text() == before


def test_a_run_is_continued_where_the_same_people_are_trained_on(arguments):
    folder = open_run(load_config(arguments), KEPT | {"dora": "test"})
    begin(folder)
    open_run(load_config([*arguments, f"data.split_file={folder / 'split.csv'}", "data.split_seed=3"]), KEPT)
    assert settings_of(folder).data.split_seed == 3
    open_run(load_config(arguments), KEPT)
    assert "dora,test" in (folder / "split.csv").read_text()
    with pytest.raises(ValueError, match=r"data\.train_splits="):
        open_run(load_config([*arguments, "data.train_splits=[train]"]), KEPT)


def test_a_split_is_not_written_once_a_training_without_one_has_begun(arguments):
    folder = open_run(load_config(arguments))
    begin(folder)
    open_run(load_config(arguments), KEPT)
    assert not (folder / "split.csv").exists()
    with pytest.raises(ValueError, match=r"data\.split_seed=0; found 3"):
        open_run(load_config([*arguments, "data.split_seed=3"]), KEPT)


def test_every_start_is_in_env_json_and_an_older_file_of_one_is_read(arguments):
    folder = open_run(load_config(arguments))
    (first,) = read_environments(folder)
    (folder / "env.json").write_text(json.dumps(first))  # as older versions wrote it
    assert read_environments(folder) == [first]
    open_run(load_config(arguments))
    assert [start["python"] for start in read_environments(folder)] == [first["python"]] * 2
    (folder / "env.json").write_text("{cut off")
    with pytest.raises(ValueError, match=r"env\.json: not JSON"):
        read_environments(folder)
    open_run(load_config(arguments))
    assert len(read_environments(folder)) == 1


def test_a_run_of_another_version_is_not_resumed_where_a_key_is_gone(arguments, caplog):
    folder = open_run(load_config(arguments))
    (folder / "checkpoints" / "step-00000001").mkdir(parents=True)
    kept = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(kept.replace("loader:", "loader:\n  warp: 3"))
    open_run(load_config(arguments))  # it decides nothing
    assert "loader.warp" in caplog.text
    (folder / "config.yaml").write_text(kept.replace("optimizer:", "optimizer:\n  warp: 3"))
    with pytest.raises(ValueError, match=r"another version of the code, with optimizer\.warp") as error:
        open_run(load_config(arguments))
    assert "\n" not in str(error.value)
    assert settings_of(folder).optimizer.lr == 0.05, "it can be evaluated"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("train.precision=bf16", r"train\.precision: the run was begun with fp32; found bf16"),
        ("train.norm=frozen", r"train\.norm: the run was begun with global; found frozen"),
        ("loader.image_type=float16", r"loader\.image_type: the run was begun with float32; found float16"),
    ],
)
def test_what_settings_alone_decide_is_compared_without_a_launcher(arguments, argument, message):
    arguments = [*arguments, "train.precision=fp32"]
    folder = open_run(load_config(arguments))
    check_same_run(load_config([*arguments, argument]), folder)  # nothing was trained
    (folder / "checkpoints" / "step-00000001").mkdir(parents=True)
    (folder / "checkpoints" / "step-00000001" / "random_states_0.pkl").touch()
    for same in (arguments, arguments[:-1], [*arguments, "train.norm=local"]):  # these depend on the launcher
        check_same_run(load_config(same), folder)
    with pytest.raises(ValueError, match=message):
        check_same_run(load_config([*arguments, argument]), folder)


@pytest.mark.parametrize("said", [["model.pooling=gem"], []], ids=["gem", "a version without the key's auto"])
def test_auto_resumes_with_what_a_run_began_with_and_other_poolings_do_not(arguments, said):
    arguments = [*arguments, "model.backbone=resnet10t", "augment.height=32", "augment.width=16"]
    folder = open_run(load_config([*arguments, "model.pooling=gem"]))
    begin(folder)
    if not said:
        kept = (folder / "config.yaml").read_text()
        (folder / "config.yaml").write_text(kept.replace("  pooling: gem\n", ""))
    check_same_run(load_config(arguments), folder)
    with pytest.raises(ValueError, match=r'model\.pooling="gem"; found "average"'):
        check_same_run(load_config([*arguments, "model.pooling=average"]), folder)


def test_what_is_trained_may_be_evaluated_on_any_number_of_ranks(arguments):
    settings = load_config([*arguments, "train.norm=local"])
    of_two, of_one = (TrainingFacts("7a", "random", "fp32", norm, "float32") for norm in ("local", "global"))
    folder = open_run(settings, facts=of_two)
    (folder / "checkpoints" / "step-00000001").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"train\.norm: the run was begun with local; found global"):
        open_run(settings, facts=of_one)
    (folder / "model.safetensors").touch()
    open_run(settings, facts=of_one)
    with pytest.raises(ValueError, match=r"train\.precision: the run was begun with fp32; found bf16"):
        open_run(settings, facts=replace(of_one, precision="bf16"))
    with pytest.raises(ValueError, match=r"train\.norm: the run was begun with local; found frozen"):
        open_run(load_config([*arguments, "train.norm=frozen"]), facts=replace(of_one, norm="frozen"))


def test_what_is_left_to_the_backbone_is_what_the_run_began_with(arguments):
    """A run of an older version, whose images were normalized otherwise, is resumed by the same command."""
    vit = [*arguments, "model.backbone=vit_tiny_patch16_224"]
    older = ["augment.mean=[0.485,0.456,0.406]", "augment.std=[0.229,0.224,0.225]", "model.pooling=gem"]
    begin(open_run(load_config([*vit, *older])))
    kept, now = load_config([*vit, *older]), load_config(vit)
    assert as_begun(now, kept) == kept
    check_same_run(now, run_path(now))
    for change in ("augment.mean=[0.5,0.5,0.5]", "model.pooling=token"):
        with pytest.raises(ValueError, match=f"belongs to a run with {change.partition('=')[0]}"):
            check_same_run(load_config([*vit, change]), run_path(now))
