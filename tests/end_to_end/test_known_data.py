"""Published data sets under a run's feet: people exchanged, gone or of other images, by the real entry points."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from accelerate.state import AcceleratorState
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pipeline import evaluate, train
from pipeline.evaluation.results import AGREED, LABELS, METRICS, RECORDED, read_rows
from pipeline.synthetic.generation import generate
from tests.end_to_end.runs import refusal

SHORT = ["train.epochs=1", "train.steps_per_epoch=4", "train.checkpoint_steps=2", "batch.ids_per_batch=2"]


OF_A_STOPPED_RUN = ("config.yaml", "env.json", "training.json", "training_data.json", "checkpoints")


def words_of(tiny, root, output):
    tiny = [argument for argument in tiny if not argument.startswith(("data.", "batch.ids"))]
    return ["configs/sysu.yaml", *tiny, *SHORT, f"data.root={root}", f"output={output}", "name=run"]


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    """A folder with a data set and a finished run."""
    folder = tmp_path_factory.mktemp("trained")
    generate("sysu", folder / "set", identities=10, images_per_camera=2, seed=0, workers=1)
    train.main(words_of(tiny, folder / "set", folder))
    AcceleratorState._reset_state(reset_partial_state=True)
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the finished run, beside a copy of its data."""
    shutil.copytree(trained / "set", tmp_path / "set")
    return shutil.copytree(trained / "run", tmp_path / "run")


@pytest.fixture
def root(run, tmp_path):
    return tmp_path / "set"


@pytest.fixture
def arguments(tiny, root, tmp_path):
    return words_of(tiny, root, tmp_path)


@pytest.fixture
def stopped(run):
    """The run as if it had been stopped at its last checkpoint."""
    for path in run.iterdir():
        if path.name not in OF_A_STOPPED_RUN:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return run


def identities(root, split):
    return np.loadtxt(root / "exp" / f"{split}_id.txt", dtype=int, delimiter=",", ndmin=1)


def write_identities(root, **splits):
    for split, numbers in splits.items():
        (root / "exp" / f"{split}_id.txt").write_text(",".join(map(str, numbers)) + "\n")
        (root / "exp" / f"{split}_id.mat").unlink(missing_ok=True)


def exchange(root):
    trained, tested = identities(root, "train"), identities(root, "test")
    write_identities(root, train=[tested[0], *trained[1:]], test=[trained[0], *tested[1:]])
    return trained[0], tested[0]


def test_a_training_is_not_gone_on_with_after_an_exchange_of_people(arguments, root, stopped, capsys):
    exchange(root)
    assert "is trained on other data than is in" in (error := refusal(train.main, arguments, capsys))
    assert "(2 differ)" in error


def test_a_training_is_not_gone_on_with_without_a_person(arguments, root, stopped, capsys):
    trained = identities(root, "train")
    write_identities(root, train=trained[:-1])
    error = refusal(train.main, arguments, capsys)
    assert f"identity {trained[-1]} is not there any more (1 differ)" in error


def test_an_older_run_without_the_record_is_an_error_in_one_line_too(arguments, root, stopped, capsys):
    write_identities(root, train=identities(root, "train")[:-1])
    for name in ("training.json", "training_data.json"):
        (stopped / name).unlink()
    assert "is not of this network, or not of as many identities" in refusal(train.main, arguments, capsys)


def test_a_training_is_not_gone_on_with_over_other_images_but_is_elsewhere(arguments, root, stopped, tmp_path, capsys):
    person = root / "cam1" / f"{identities(root, 'train')[0]:04d}"
    image = sorted(person.iterdir())[0]
    image.rename(image.with_name("9999.jpg"))
    assert f"identity {int(person.name)} has other images (1 of" in refusal(train.main, arguments, capsys)
    (person / "9999.jpg").rename(image)
    shutil.move(root, tmp_path / "moved")
    train.main([*arguments, f"data.root={tmp_path / 'moved'}"])
    assert (stopped / "model.safetensors").exists()


def test_another_precision_is_an_error_by_key_and_variable(arguments, stopped, capsys, monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    error = refusal(train.main, arguments, capsys)
    assert "train.precision: the run was begun with fp32; found bf16" in error
    assert "ACCELERATE_MIXED_PRECISION is bf16" in error


def test_no_training_identity_is_tested_on_another_root_and_all_is_in_the_row(run, root, tmp_path, capsys):
    before = read_rows(run / "results.csv")
    data = json.loads((run / "training_data.json").read_text())
    assert (before["train_set"] == data["digest"]).all()
    facts = {"weights": "random", "train_precision": "fp32", "norm": "global", "ranks": "1", "decode": "cpu"}
    assert before[list(facts)].drop_duplicates().to_dict("records") == [facts]
    assert (before["train_code_version"] == before["code_version"]).all()

    place = f"data.root={root}"
    evaluate.main([str(run), place])  # a row that repeats one replaces it
    pd.testing.assert_frame_equal(read_rows(run / "results.csv"), before)

    shutil.copytree(root, tmp_path / "other")
    trained, _ = exchange(tmp_path / "other")
    error = refusal(evaluate.main, [run, f"data.root={tmp_path / 'other'}"], capsys)
    assert f"would test identities it was trained on, 1 of {len(identities(root, 'test'))}" in error
    assert f"the first is {trained}" in error

    (run / "training_data.json").unlink()  # as a run of an older version
    write_older_weights(run)
    evaluate.main([str(run), place, "evaluation.modes=[all]"])
    rows = read_rows(run / "results.csv")
    assert len(rows) == len(before) + 10 and (rows["train_set"].iloc[-10:] == "unknown").all()
    assert (rows["mAP"].iloc[-10:].to_numpy() == before["mAP"][before["mode"] == "all"].to_numpy()).all()


def write_older_weights(run):
    with safe_open(run / "model.safetensors", framework="pt") as weights:
        known = {name: value for name, value in weights.metadata().items() if name != "training"}
    save_file(load_file(run / "model.safetensors"), run / "model.safetensors", known)
    (run / "training.json").unlink()


def test_a_network_that_was_not_trained_and_pixels_say_so(arguments, tmp_path):
    evaluate.main([*arguments, "name=untrained"])
    evaluate.main([*arguments, "name=untrained", "evaluation.extractor=pixels"])
    rows = read_rows(tmp_path / "untrained" / "results.csv")
    network, pixels = (rows[rows["extractor"] == name] for name in ("network", "pixels"))
    assert (network["weights"] == "random").all() and (pixels["weights"] == "none").all()
    assert (network["method"] == "base_derivative").all() and (network["method_source"] == "paper").all()
    assert (pixels[LABELS] == "none").all(axis=None)
    others = [name for name in (*AGREED, *RECORDED) if name not in ("weights", *LABELS)]
    assert (rows[others] == "none").all(axis=None) and rows[METRICS].notna().all(axis=None)
