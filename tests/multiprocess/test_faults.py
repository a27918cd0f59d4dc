"""Full, read-only and damaged disks, and a launcher that is killed: real processes, real file systems."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline import train
from pipeline.run.checkpoint import checkpoints, damage
from tests.end_to_end.runs import refusal
from tests.multiprocess.ranks import ENVIRONMENT, TWO_RANKS, fork_ranks, run

MOUNT = "mount -t tmpfs -o {options} none {folder}"


@pytest.fixture()
def arguments(people, tiny, tmp_path):
    course = ["train.epochs=1", "train.steps_per_epoch=8", "train.checkpoint_steps=2", "train.norm=frozen"]
    return ["configs/folder.yaml", *tiny, *course, f"data.root={people}", f"output={tmp_path / 'runs'}"]


@pytest.fixture()
def in_own_mounts(tmp_path):
    """Runs shell commands that may mount file systems which no other process sees."""
    for way in (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"]):
        probe = [*way, "sh", "-c", MOUNT.format(options="size=1m", folder=tmp_path)]
        if shutil.which("unshare") and run(probe).returncode == 0:
            return lambda script: run([*way, "bash", "-c", script])
    return pytest.skip("needs the right to mount file systems (unshare --mount)")


def shell(command):
    return " ".join(f"'{argument}'" for argument in command)


def test_a_full_disc_ends_all_ranks_in_a_line_and_leaves_the_checkpoint_before(arguments, in_own_mounts, tmp_path):
    runs, kept = tmp_path / "runs", tmp_path / "kept"
    runs.mkdir()
    # two checkpoints of 3 MB fit, the third doesn't
    ended = in_own_mounts(f"""
        {MOUNT.format(options="size=8m", folder=runs)}
        {shell([*TWO_RANKS, "-m", "pipeline.train", *arguments, "name=full"])}
        ls {runs}/full/checkpoints > {tmp_path}/left
        mount -o remount,size=1g {runs}
        {shell([sys.executable, "-m", "pipeline.train", *arguments, "name=full"])} && cp -r {runs}/full {kept}""")
    lines = [line for line in ended.stderr.splitlines() if "could not be written" in line]
    assert len(lines) == 1, ended.stderr
    assert "full/checkpoints: the checkpoint of step 6 could not be written: rank " in lines[0]
    assert "MB were free. The one before, step-00000004, is intact" in lines[0]
    assert (tmp_path / "left").read_text().split() == ["step-00000002", "step-00000004"]
    assert "resumed at step 4" in (kept / "log.txt").read_text() and (kept / "model.safetensors").exists()


def test_a_read_only_disc_is_an_error_in_a_line(arguments, in_own_mounts, tmp_path):
    runs = tmp_path / "runs"
    runs.mkdir()
    command = shell([sys.executable, "-m", "pipeline.train", *arguments, "name=never"])
    ended = in_own_mounts(f"{MOUNT.format(options='ro', folder=runs)}; {command}")
    assert ended.returncode == 2
    said = f"{runs / 'never'}: the run folder can't be written: Read-only file system; choose another output="
    assert [said in line for line in ended.stderr.splitlines() if line.startswith("error: ")] == [True]


def test_all_ranks_resume_from_the_checkpoint_before_a_damaged_one(arguments, monkeypatch, tmp_path):
    folder = tmp_path / "runs" / "flipped"
    monkeypatch.setenv("STOP_FILE", str(tmp_path))  # stops after every step
    for _ in range(2):
        train.main([*arguments, "name=flipped"])
    older, newest = checkpoints(folder / "checkpoints")
    content = bytearray((newest / "optimizer.bin").read_bytes())
    content[len(content) // 2] ^= 1
    (newest / "optimizer.bin").write_bytes(content)
    text = fork_ranks(2, tmp_path, train.main, [*arguments, "name=flipped"])
    said = (
        f"{newest}: not used: optimizer.bin: its SHA-256 is not the one it was written with; resuming from {older.name}"
    )
    assert text.count(said) == 1 and said in (folder / "log.txt").read_text()
    assert "resumed at step 1" in text and "on 2 x cpu" in text
    assert all(damage(checkpoint) is None for checkpoint in checkpoints(folder / "checkpoints"))


def test_a_killed_launcher_leaves_no_second_training_next_to_its_ranks(arguments, tmp_path, capsys):
    """torchrun's workers outlive it: the run folder stays locked until they end, and a signal to one stops all."""
    folder, arguments = tmp_path / "runs" / "orphaned", [*arguments, "train.steps_per_epoch=2000"]
    with open(tmp_path / "output.txt", "w") as output:
        launcher = subprocess.Popen(
            [*TWO_RANKS, "-m", "pipeline.train", *arguments, "name=orphaned"], stdout=output, env=ENVIRONMENT
        )
    wait_for(lambda: (folder / "metrics.csv").exists(), launcher)
    ranks = [int(number) for number in Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()]
    assert len(ranks) == 2
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    assert "is being trained by process" in refusal(train.main, [*arguments, "name=orphaned"], capsys)
    os.kill(ranks[1], signal.SIGTERM)
    wait_for(lambda: not any(alive(rank) for rank in ranks))
    (step,) = {int(checkpoint.name[5:]) for checkpoint in checkpoints(folder / "checkpoints")[-1:]}
    assert f"asked to stop: checkpoint written after step {step}" in (folder / "log.txt").read_text()


def alive(process):
    try:
        return bool(Path(f"/proc/{process}/cmdline").read_bytes())  # that of a zombie is empty
    except OSError:
        return False


def wait_for(condition, process=None):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline and (process is None or process.poll() is None)
        time.sleep(0.05)
