"""The lock of files: the kernel's, and the one for file systems whose kernel refuses."""

import errno
import fcntl
import os
import platform
import subprocess
import sys

import pandas as pd
import pytest

from pipeline import locking, train
from pipeline.evaluation.per_query import queries_file, write_queries
from pipeline.evaluation.results import METRICS, append_rows, read_rows, rows
from pipeline.locking import Lock, current_holder, is_left_behind, locked, marker_of, remove_left_behind, said_holder

REFUSE = """
import fcntl, sys, time
from pathlib import Path

def refuse(*arguments):
    raise OSError(38, "Function not implemented")

if "refuse" in sys.argv:
    fcntl.flock = fcntl.lockf = refuse
"""
HOLD = """
from pipeline.locking import Lock

lock = Lock(Path(sys.argv[1]))
print(lock.acquire(), flush=True)
time.sleep(300)
"""
COUNT = """
from pipeline.locking import locked

path = Path(sys.argv[1])
for _ in range(20):
    with locked(path.with_suffix(".lock"), 60):
        number = int(path.read_text())
        time.sleep(0.002)
        path.write_text(str(number + 1))
"""
WAYS = pytest.mark.parametrize("way", ["kernel", "refuse"])


def start(script, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", REFUSE + script, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


@pytest.fixture()
def refusing(monkeypatch):
    """This process's kernel keeps no locks; what it says to that may be chosen."""

    def choose(number=errno.ENOSYS):
        def refuse(*arguments):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", refuse)
        monkeypatch.setattr(fcntl, "lockf", refuse)

    choose()
    return choose


@pytest.fixture()
def left_behind(tmp_path):
    """The lock of a process that was killed where the kernel keeps no locks."""
    process = start(HOLD, tmp_path / "lock", "refuse")
    assert process.stdout.readline()
    process.kill()
    process.wait()
    assert marker_of(tmp_path / "lock").exists()
    return tmp_path / "lock"


@WAYS
def test_one_process_at_a_time_is_inside(way, tmp_path):
    count = tmp_path / "count"
    count.write_text("0")
    for process in [start(COUNT, count, way) for _ in range(4)]:
        assert process.wait() == 0
    assert count.read_text() == "80"
    assert {path.name for path in tmp_path.iterdir()} == {"count", "count.lock"}


@pytest.mark.parametrize("name", ["ENOSYS", "ENOTSUP", "EOPNOTSUPP", "ENOLCK", "EINVAL"])
def test_whatever_the_kernel_says_to_refuse_a_marker_stands_for_the_lock(name, refusing, tmp_path):
    refusing(getattr(errno, name))
    first, second = Lock(tmp_path / "lock"), Lock(tmp_path / "lock")
    assert first.acquire() == (tmp_path / "lock").read_text() and second.acquire() is None
    assert first.refused == second.refused == os.strerror(getattr(errno, name))
    assert current_holder(tmp_path / "lock")["process"] == os.getpid()
    first.release()
    assert current_holder(tmp_path / "lock") is None and second.acquire()
    second.release()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_other_errors_are_not_taken_for_a_refusal(refusing, tmp_path):
    refusing(errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        Lock(tmp_path / "lock").acquire()
    assert not marker_of(tmp_path / "lock").exists()


@WAYS
def test_what_is_held_too_long_is_told_with_its_holder(way, tmp_path, monkeypatch, request):
    process = start(HOLD, tmp_path / "lock", way)
    assert process.stdout.readline()
    if way == "refuse":
        request.getfixturevalue("refusing")
    assert current_holder(tmp_path / "lock") == said_holder(tmp_path / "lock")
    with pytest.raises(OSError) as error, locked(tmp_path / "lock", 0.2):
        pass
    assert str(error.value).startswith(
        f"{tmp_path / 'lock'}: is held by process {process.pid} on {platform.node()} since"
    )
    assert (f"remove {tmp_path / 'lock.held'}" in str(error.value)) == (way == "refuse")
    process.kill()
    process.wait()
    with locked(tmp_path / "lock", 5):
        assert said_holder(tmp_path / "lock")["process"] == os.getpid()


def test_the_lock_of_a_killed_process_of_this_host_is_taken_over(left_behind, refusing):
    assert current_holder(left_behind) is None
    with locked(left_behind, 5):
        assert current_holder(left_behind)["process"] == os.getpid()
    assert not marker_of(left_behind).exists()


def test_it_is_where_names_cannot_be_exchanged_too(left_behind):
    """filelock takes over by an exchange of names; without one, this is all there is."""
    marker = marker_of(left_behind)
    assert is_left_behind(marker)
    remove_left_behind(marker)
    assert [path.name for path in left_behind.parent.iterdir()] == ["lock"]


@pytest.mark.parametrize("content", ["", "12\n", "x\nhost\n", "{process}\n{host}\n", "{gone}\nelsewhere\n", None])
def test_no_other_marker_is_removed(content, left_behind):
    """Being written, of a process that lives, of another host, or gone meanwhile."""
    marker = marker_of(left_behind)
    gone, host, *_ = marker.read_text().splitlines()
    if content is None:
        marker.unlink()
    else:
        marker.write_text(content.format(process=os.getpid(), host=host, gone=gone))
    remove_left_behind(marker)
    assert marker.exists() == (content is not None)


def test_a_marker_of_another_host_is_named_in_a_line(left_behind, refusing):
    marker = marker_of(left_behind)
    marker.write_text("12\nelsewhere\n")
    with pytest.raises(OSError) as error, locked(left_behind, 0.2):
        pass
    assert str(error.value).endswith(f"; if it has ended, remove {marker} (no locks here: Function not implemented)")
    assert "\n" not in str(error.value)
    marker.unlink()
    with locked(left_behind, 0.2):
        pass


def test_results_are_added_where_the_kernel_keeps_no_locks(refusing, tmp_path, monkeypatch):
    row = pd.DataFrame([{"run": "a", "trial": 1} | dict.fromkeys(METRICS, 50.0)])
    append_rows(tmp_path / "results.csv", row)
    append_rows(tmp_path / "results.csv", row.assign(run="b"))
    assert read_rows(tmp_path / "results.csv")["run"].tolist() == ["a", "b"]
    write_queries(tmp_path, {"12": row})
    assert queries_file(tmp_path, "12").exists()
    marker_of(tmp_path / "results.lock").write_text("12\nelsewhere\n")
    monkeypatch.setattr(rows, "PATIENCE", 0.1)
    with pytest.raises(OSError, match="results.lock: is held by .*; if it has ended, remove .*results.lock.held"):
        append_rows(tmp_path / "results.csv", row)


def test_a_training_ends_with_weights_and_results_where_the_kernel_keeps_no_locks(refusing, people, tiny, tmp_path):
    arguments = [
        "configs/folder.yaml",
        *tiny,
        "train.epochs=1",
        "train.steps_per_epoch=2",
        f"output={tmp_path}",
        "name=a",
    ]
    train.main([*arguments, f"data.root={people}"])
    folder = tmp_path / "a"
    assert (folder / "model.safetensors").exists() and len(read_rows(folder / "results.csv")) == 2
    assert not list(folder.glob("*.held*"))


def test_this_host_is_named_as_markers_name_it(refusing, tmp_path):
    with locked(tmp_path / "lock", 0):
        assert marker_of(tmp_path / "lock").read_text().splitlines()[:2] == [str(os.getpid()), locking.own_host()]
