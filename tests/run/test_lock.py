import fcntl
import os
import signal
import subprocess
import sys

import pytest

from pipeline.run import lock as run_lock
from pipeline.run.lock import RunLock, check_shared_folder, current_training

HOLD = """
import sys, time
from pathlib import Path
from pipeline.run.lock import RunLock

lock = RunLock(Path(sys.argv[1]))
print(lock.acquire(), flush=True)
time.sleep(300)
"""


@pytest.fixture()
def holder(tmp_path):
    """Another process that holds the lock of tmp_path."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline()
    yield process
    process.kill()
    process.wait()


@pytest.fixture()
def impatient(monkeypatch):
    monkeypatch.setattr(run_lock, "PATIENCE", 0.3)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


def test_a_second_training_is_refused_until_the_first_is_killed(holder, impatient, tmp_path):
    with pytest.raises(ValueError) as error:
        RunLock(tmp_path).acquire()
    host = os.uname().nodename
    assert str(error.value).startswith(f"{tmp_path}: is being trained by process {holder.pid} on {host} since ")
    assert "\n" not in str(error.value)
    assert current_training(tmp_path).startswith(f"process {holder.pid} on {host}")
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert current_training(tmp_path) is None
    lock = RunLock(tmp_path)
    assert f'"process": {os.getpid()}' in lock.acquire()
    lock.close()


def test_a_requeued_job_waits_for_what_is_left_of_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
    assert '"job": "77"' in process.stdout.readline()
    monkeypatch.setattr(run_lock, "PATIENCE", 0.1)
    monkeypatch.setattr(run_lock.time, "sleep", lambda seconds: (process.kill(), process.wait()))
    lock = RunLock(tmp_path)
    lock.acquire()
    lock.close()


def test_children_do_not_keep_the_lock(tmp_path):
    """A loader's process that outlives its training must not keep the next one out."""
    lock = RunLock(tmp_path)
    lock.acquire()
    child = os.fork()
    if child == 0:
        signal.pause()
    assert current_training(tmp_path).startswith(f"process {os.getpid()} ")
    lock.close()
    assert current_training(tmp_path) is None
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_children_do_not_keep_the_lock_of_a_killed_training(tmp_path):
    fork = HOLD.replace("time.sleep(300)", "import os; os.fork() or print(os.getpid(), flush=True); time.sleep(300)")
    process = subprocess.Popen([sys.executable, "-c", fork, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline()
    child = int(process.stdout.readline())
    assert current_training(tmp_path).startswith(f"process {process.pid} ")
    process.kill()
    process.wait()
    assert current_training(tmp_path) is None
    os.kill(child, signal.SIGKILL)  # it was still there


def test_a_file_system_without_locks_is_warned_of_and_locked_all_the_same(tmp_path, monkeypatch, impatient):
    said = []
    monkeypatch.setattr(run_lock.log, "warning", said.append)

    def refuse(*arguments):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    lock = RunLock(tmp_path)
    check_shared_folder(tmp_path, lock.acquire())
    (line,) = said
    assert line.startswith(f"{tmp_path}: keeps no locks (Function not implemented): lock.held stands for one")
    assert current_training(tmp_path).startswith(f"process {os.getpid()} on ")
    marker = tmp_path / "lock.held"
    with pytest.raises(
        ValueError, match=f"is being trained by process {os.getpid()} .*; if it has ended, remove {marker}"
    ):
        RunLock(tmp_path).acquire()
    lock.close()
    assert current_training(tmp_path) is None and not marker.exists()


def test_a_node_that_sees_another_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(run_lock, "UNSEEN", 0.2)
    lock = RunLock(tmp_path / "shared")
    text = lock.acquire()
    check_shared_folder(tmp_path / "shared", text)
    with pytest.raises(ValueError, match=f"doesn't see the run folder of .*process {os.getpid()} on .*all nodes share"):
        check_shared_folder(tmp_path / "own", text)
