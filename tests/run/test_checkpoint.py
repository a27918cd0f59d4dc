import logging
import os
import re
import shutil

import pytest
import torch
from accelerate import Accelerator

from pipeline.run.checkpoint import MANIFEST, checkpoints, damage, load_newest, save_checkpoint


@pytest.fixture()
def training():
    accelerator = Accelerator(cpu=True)
    network = torch.nn.Linear(2, 3)
    return accelerator, accelerator.prepare(network, torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9))[0]


@pytest.fixture()
def saved(training, tmp_path):
    """Three checkpoints, of weights that are their step throughout."""
    accelerator, network = training
    for step in (2, 4, 6):
        torch.nn.init.constant_(network.weight, step)
        save_checkpoint(accelerator, tmp_path, step, keep=3)
    return tmp_path


@pytest.fixture()
def messages(monkeypatch):
    """What is logged, whatever handlers a training before has left."""
    said = []
    monkeypatch.setattr(logging.getLogger("pipeline"), "warning", said.append)
    return said


def flip_a_bit(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGES = {
    "a file is missing": (lambda folder: (folder / "optimizer.bin").unlink(), "optimizer.bin is missing"),
    "a file is cut": (
        lambda folder: os.truncate(folder / "model.safetensors", 100),
        r"model.safetensors: expected \d+ bytes; found 100",
    ),
    "a bit is flipped": (lambda folder: flip_a_bit(folder / "model.safetensors"), "its SHA-256 is not the one"),
    "a random state is empty": (
        lambda folder: (folder / "random_states_0.pkl").write_bytes(b""),
        r"random_states_0.pkl: expected \d+ bytes; found 0",
    ),
    "no manifest": (lambda folder: (folder / MANIFEST).unlink(), f"has no {MANIFEST}"),
    "half a manifest": (lambda folder: os.truncate(folder / MANIFEST, 40), f"{MANIFEST} is damaged"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_checkpoint_is_refused_and_the_one_before_is_used(training, saved, name, messages):
    accelerator, network = training
    harm, reason = DAMAGES[name]
    assert all(damage(checkpoint) is None for checkpoint in checkpoints(saved))
    harm(saved / "step-00000006")
    assert load_newest(accelerator, saved) == 4
    assert (network.weight == 4).all()
    (message,) = messages
    assert f"{saved / 'step-00000006'}: not used: " in message and "resuming from step-00000004" in message
    assert re.search(reason, message), message
    assert [path.name for path in checkpoints(saved)] == ["step-00000002", "step-00000004"]
    assert (saved / "damaged-step-00000006").is_dir()
    save_checkpoint(accelerator, saved, 6, keep=3)
    assert load_newest(accelerator, saved) == 6


def test_damaged_checkpoints_alone_are_refused_and_left_as_they_are(training, saved):
    for checkpoint in checkpoints(saved):
        (checkpoint / "optimizer.bin").unlink()
    with pytest.raises(
        ValueError, match="step-00000006: optimizer.bin is missing, and 2 older ones are damaged"
    ) as error:
        load_newest(training[0], saved)
    assert f"take {saved} away to start anew" in str(error.value) and "\n" not in str(error.value)
    assert len(checkpoints(saved)) == 3


def test_the_newest_is_that_of_the_last_step_whatever_the_clocks_said(training, saved):
    accelerator, network = training
    for number, checkpoint in enumerate(checkpoints(saved)):  # as if a node whose clock is ahead had written the first
        os.utime(checkpoint, (2e9 - number, 2e9 - number))
    assert load_newest(accelerator, saved) == 6
    save_checkpoint(accelerator, saved, 8, keep=2)
    assert [path.name for path in checkpoints(saved)] == ["step-00000006", "step-00000008"]
    assert load_newest(accelerator, saved) == 8


def test_a_failed_write_names_the_reason_and_leaves_the_checkpoints_before(training, saved, monkeypatch):
    accelerator, network = training

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError) as error:
        patch.setattr("pipeline.run.checkpoint.force_to_disc", fail)
        save_checkpoint(accelerator, saved, 8, keep=3)
    assert "the checkpoint of step 8 could not be written: [Errno 28] No space left on device" in str(error.value)
    assert "The one before, step-00000006, is intact" in str(error.value)
    assert sorted(path.name for path in saved.iterdir()) == ["step-00000002", "step-00000004", "step-00000006"]
    assert load_newest(accelerator, saved) == 6 and (network.weight == 6).all()


def test_a_kill_while_an_old_checkpoint_is_removed_leaves_no_half_of_it(training, saved, monkeypatch):
    def killed(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "rmtree", killed)
        save_checkpoint(training[0], saved, 8, keep=1)
    assert [path.name for path in checkpoints(saved)] == ["step-00000004", "step-00000006", "step-00000008"]
    assert all(damage(checkpoint) is None for checkpoint in checkpoints(saved))
    save_checkpoint(training[0], saved, 10, keep=1)
    assert [path.name for path in saved.iterdir()] == ["step-00000010"]


def test_there_is_nothing_to_load_in_a_new_run(training, tmp_path):
    assert load_newest(training[0], tmp_path / "none") == 0
