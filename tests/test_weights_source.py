"""What `model.weights` names."""

import re

import pytest

from pipeline.weights_source import find_weights


@pytest.fixture()
def run(tmp_path):
    folder = tmp_path / "run"
    checkpoint = folder / "checkpoints" / "step-00000004"
    checkpoint.mkdir(parents=True)
    for file in ("config.yaml", "model.safetensors", "best.safetensors"):
        (folder / file).touch()
    for file in ("manifest.json", "model.safetensors"):
        (checkpoint / file).touch()
    return folder


def test_a_run_is_its_folder_or_a_file_of_weights_in_it(run):
    for name, file in (("", "model"), ("model.safetensors", "model"), ("best.safetensors", "best")):
        found = find_weights(str(run / name))
        assert found.run == run and found.file == run / f"{file}.safetensors" and found.name == "run run"


def test_a_checkpoint_is_not_a_file_of_others(run):
    """It would be started from without what the run was trained on being known."""
    message = f"is of a checkpoint: give the folder of its run once that is trained, {re.escape(str(run))}"
    with pytest.raises(ValueError, match=message):
        find_weights(str(run / "checkpoints" / "step-00000004" / "model.safetensors"))


def test_other_files_are_of_no_run(tmp_path):
    (tmp_path / "weights.pth").touch()
    assert find_weights(str(tmp_path / "weights.pth")).run is None
    with pytest.raises(FileNotFoundError, match="weights: no such file"):
        find_weights(str(tmp_path / "none.pth"))
    with pytest.raises(ValueError, match="without config.yaml"):
        find_weights(str(tmp_path))
