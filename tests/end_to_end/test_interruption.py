"""How a training ends that is interrupted or fails: soon, with a line, and with nothing left running."""

import os
import signal
import subprocess
import sys
import time

import pytest

from pipeline.run.checkpoint import checkpoints, damage

SECONDS = 30  # an end takes a second or two; a hang takes for ever


@pytest.fixture()
def arguments(people, tiny, tmp_path):
    steps = ["train.epochs=1", "train.steps_per_epoch=2000", "train.checkpoint_steps=2"]
    return ["configs/folder.yaml", *tiny, *steps, f"data.root={people}", f"output={tmp_path}", "name=run"]


def start(arguments, folder):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with open(folder / "output.txt", "w") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline.train", *arguments],
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
            # shells start background jobs, such as these tests may be, with the signal of Ctrl-C ignored
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )


def processes_of_session(leader):
    """Numbers of the living processes that `leader` started, itself included."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    state, _, _, session = file.read().rpartition(")")[2].split()[:4]
            except OSError:
                continue
            if int(session) == leader and state != "Z":
                found.append(int(entry))
    return found


@pytest.mark.parametrize("interruption", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_ends_at_once_and_leaves_a_checkpoint_and_no_process(arguments, tmp_path, interruption):
    process = start(arguments, tmp_path)
    deadline = time.monotonic() + 120
    while not checkpoints(tmp_path / "run" / "checkpoints"):
        assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "output.txt").read_text()
        time.sleep(0.05)
    os.killpg(process.pid, interruption)  # as a terminal does: to all of them
    process.wait(SECONDS)
    said = (tmp_path / "output.txt").read_text()
    if interruption == signal.SIGINT:
        assert process.returncode == 130
        assert said.rstrip().endswith("interrupted") and "Traceback" not in said
    else:
        assert process.returncode == 0
    assert processes_of_session(process.pid) == []
    newest = checkpoints(tmp_path / "run" / "checkpoints")[-1]
    saved_at = f"asked to stop: checkpoint written after step {int(newest.name[5:])}; the same command resumes"
    assert saved_at in said and damage(newest) is None


def test_a_failure_in_the_loop_ends_the_loader_too(arguments, tmp_path):
    process = start([*arguments, "optimizer.lr=1e30"], tmp_path)
    process.wait(120)
    assert process.returncode == 2
    assert "is not finite" in (tmp_path / "output.txt").read_text()
    assert processes_of_session(process.pid) == []
