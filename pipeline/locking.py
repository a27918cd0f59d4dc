"""A lock that one process holds at a time, on whichever node, and a file that names it.

The locks are filelock's. Its first is the kernel's flock: the kernel, or the server of a file system shared between
nodes, gives it up when the process ends, however it ends, so nothing is left to clear away after a kill. Relied on:
NFS (Linux turns flock into the server's byte-range locks since 2.6.12, unless mounted with `nolock` or `local_lock`),
Lustre mounted with `flock` and CephFS keep it over nodes; NFSv4 frees a vanished node's lock once its lease has run out
(about 90 s). POSIX record locks (fcntl) are kept by the same mounts, but are lost when their process closes any
descriptor of the file. Forked children, which would share a flock and keep it, are made to close it by filelock.

Where the kernel has no locks, a file next to it stands for the lock while it exists: the marker, filelock's soft lock.
A kill leaves it behind: the next start on the same host removes it; on another host no process can know whether its
process has ended, and the user is told which file to remove. All nodes must mount the file system alike.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, SoftFileLock, Timeout, UnixFileLock

HELD = (errno.EACCES, errno.EAGAIN)
REFUSED = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)
# One attempt; it is the process that holds a lock, whichever of its threads asks.
ONCE: dict[str, Any] = {"timeout": 0, "thread_local": False}


class Lock:
    """The lock whose file is `path`.

    refused: why the kernel doesn't lock it; None where it does, or before it was asked.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.marker = path, marker_of(path)
        self.refused: str | None = None
        self._held: BaseFileLock | None = None
        self._text = ""

    def acquire(self) -> str | None:
        """Tries once; returns what the file then says of this process, None where another holds the lock.

        Raises OSError where the file can't be written.
        """
        self._text = json.dumps(this_process())
        kernel = UnixFileLock(self.path, fallback_to_soft=False, on_acquired=self._write, **ONCE)
        try:
            kernel.acquire()
        except Timeout:
            return None
        except OSError as error:
            if error.errno not in REFUSED:
                raise
            self.refused = error.strerror
            return self._acquire_marker()
        self._held = kernel
        return self._text

    def _write(self, descriptor: int) -> None:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, self._text.encode(), 0)

    def _acquire_marker(self) -> str | None:
        soft = SoftFileLock(self.marker, **ONCE)
        try:
            soft.acquire()
        except Timeout:
            remove_left_behind(self.marker)  # the next attempt may succeed
            return None
        self._held = soft
        self.path.write_text(self._text)  # no descriptor is locked here: any will do
        return self._text

    def release(self) -> None:
        if self._held:
            self._held.release()
        self._held = None

    def advice(self) -> str:
        """Returns what to do about a holder that may have ended; nothing where the kernel keeps the lock."""
        return f"; if it has ended, remove {self.marker} (no locks here: {self.refused})" if self.refused else ""


@contextlib.contextmanager
def locked(path: Path, patience: float) -> Iterator[None]:
    """Holds the lock whose file is `path`. Raises OSError where another process has held it for `patience` seconds."""
    lock, begin = Lock(path), time.monotonic()
    try:
        while lock.acquire() is None:
            if time.monotonic() - begin > patience:
                raise OSError(f"{path}: is held by {describe_holder(said_holder(path))}{lock.advice()}")
            time.sleep(0.05)
        yield
    finally:
        lock.release()


def marker_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.held")


def this_process() -> dict[str, object]:
    return {"job": own_job(), "host": platform.node(), "process": os.getpid(), "since": f"{datetime.now():%F %T}"}


def own_job() -> str | None:
    return os.environ.get("SLURM_JOB_ID")


def current_holder(path: Path) -> dict[str, object] | None:
    """Returns what the file says of the process that holds the lock now; None where none does."""
    try:
        with open(path) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError as error:
                marker = marker_of(path)
                soft = error.errno in REFUSED and marker.exists() and not is_left_behind(marker)
                return said_holder(path) if soft or error.errno in HELD else None
    except OSError:
        pass
    return None


def said_holder(path: Path) -> dict[str, object]:
    """Returns what the lock's file says; empty while it is being written."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def describe_holder(holder: dict[str, object]) -> str:
    if not holder:
        return "another process"
    job = f"Slurm's job {holder['job']}, " if holder["job"] else ""
    return f"{job}process {holder['process']} on {holder['host']} since {holder['since']}"


# ---------------------------------------------------------------- markers


def remove_left_behind(marker: Path) -> None:
    """Removes the marker of a process of this host that has ended.

    filelock does so itself where two names can be exchanged at once, which NFS, Lustre and many others can't.
    """
    if is_left_behind(marker):
        # one process at a time, so that none removes the marker of whom another has just made room for
        with contextlib.suppress(Timeout), SoftFileLock(f"{marker}.removing", **ONCE):
            if is_left_behind(marker):
                marker.unlink(missing_ok=True)


def is_left_behind(marker: Path) -> bool:
    try:
        process, host = marker.read_text().splitlines()[:2]
        if host == own_host():
            os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError):
        pass  # it is gone, is being written, or is of a user whose processes can't be asked for
    return False


@functools.cache
def own_host() -> str:
    """Returns this host as markers name it: with what its processes are numbered in, where that is a container."""
    with tempfile.TemporaryDirectory() as folder:
        marker = Path(folder) / "marker"
        with SoftFileLock(marker, **ONCE):
            return marker.read_text().splitlines()[1]
