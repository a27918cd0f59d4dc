import json
import logging

import pytest
import torch

from pipeline.config import load_config
from pipeline.run.checkpoint import MANIFEST, checkpoints, fingerprint, save_weights
from pipeline.run.chosen import check_choice, choose_weights
from pipeline.run.trained import best_path, weights_path


@pytest.fixture()
def folder(tmp_path):
    """A run folder with two checkpoints, not trained to its end."""
    for step in (20, 40):
        checkpoint = tmp_path / "checkpoints" / f"step-{step:08d}"
        checkpoint.mkdir(parents=True)
        (checkpoint / "model.safetensors").write_text(str(step))
        manifest = {"model.safetensors": fingerprint(checkpoint / "model.safetensors")}
        (checkpoint / MANIFEST).write_text(json.dumps(manifest))
    return tmp_path


@pytest.fixture()
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(logging.getLogger("pipeline"), "warning", lines.append)
    return lines


def kept(selection="last"):
    return load_config([f"validation.selection={selection}"])


def finish(folder, *, best=True):
    save_weights(torch.nn.Linear(2, 3), weights_path(folder))
    if best:
        save_weights(torch.nn.Linear(2, 3), best_path(folder))


@pytest.mark.parametrize(
    ("selection", "asked", "file", "column"),
    [
        ("last", None, "model.safetensors", "last"),
        ("best", None, "best.safetensors", "best_on_validation"),
        ("best", "last", "model.safetensors", "last"),
        ("last", "best", "best.safetensors", "best_on_validation"),
        ("last", "20", "checkpoints/step-00000020", "step 20"),
        ("best", "0040", "checkpoints/step-00000040", "step 40"),
    ],
)
def test_the_weights_of_a_trained_run(folder, said, selection, asked, file, column):
    finish(folder)
    chosen = choose_weights(folder, kept(selection), asked)
    assert (chosen.path, chosen.selection) == (folder / file, column)
    assert chosen.is_checkpoint == file.startswith("checkpoints") and said == []


@pytest.mark.parametrize("selection", ["last", "best"])
def test_an_unfinished_run_is_that_of_its_newest_intact_checkpoint_and_this_is_said(folder, said, selection):
    assert choose_weights(folder, kept(selection)).selection == "step 40"
    assert said == [f"{folder}: isn't trained to its end; its newest checkpoint is evaluated, step-00000040"]
    (folder / "checkpoints" / "step-00000040" / "model.safetensors").write_text("41")
    assert choose_weights(folder, kept(selection), "last").selection == "step 20"
    assert "step-00000040: not used: model.safetensors: its SHA-256" in said[1]
    assert len(checkpoints(folder / "checkpoints")) == 2, "nothing is set aside: it may be training"
    with pytest.raises(ValueError, match=r"step-00000040: model\.safetensors: its SHA-256"):
        choose_weights(folder, kept(), "40")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("30", r"checkpoint: expected last, best or a step that .* keeps \(20, 40\); found 30"),
        ("best", r"best\.safetensors: no such file; a training with validation\.every_epochs keeps it"),
        ("newest", "checkpoint: expected last, best or a step; found 'newest'"),
        ("-1", "checkpoint: expected last, best or a step; found '-1'"),
        ("", "checkpoint: expected last, best or a step; found ''"),
    ],
)
def test_weights_that_are_not_there_are_errors(folder, asked, message):
    finish(folder, best=False)
    with pytest.raises(ValueError, match=message) as error:
        choose_weights(folder, kept(), asked)
    assert "\n" not in str(error.value)


def test_a_folder_with_nothing_in_it_is_an_error(tmp_path):
    check_choice(None)
    with pytest.raises(ValueError, match="expected a trained run, with model.safetensors or an intact checkpoint"):
        choose_weights(tmp_path, kept())
    with pytest.raises(ValueError, match=r"keeps \(none\); found 3"):
        choose_weights(tmp_path, kept(), "3")
