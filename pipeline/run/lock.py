"""One training at a time in a run folder, whichever nodes they run on.

The first rank holds a POSIX record lock (fcntl) on the file `lock` of the run folder. The kernel, or the server of a
file system shared between nodes, gives it up when the process ends, however it ends: nothing is left to clear away
after a kill. Relied on: NFS, Lustre mounted with `flock`, GPFS and the like keep these locks over nodes; NFSv4 frees a
vanished node's lock once its lease has run out (about 90 s). A file system that keeps no locks is gone on with, after a
warning. The file says who holds it; what it says counts only while it is locked, and no clock is compared.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import platform
import time
from datetime import datetime
from pathlib import Path
from typing import IO

PATIENCE = 2.0  # seconds in which a job that has just been cancelled ends
OWN_PATIENCE = 150.0  # seconds for the processes of this very job before it was requeued, perhaps on a lost node
UNSEEN = 10.0  # seconds for another node to see a new file

log = logging.getLogger("pipeline")


class RunLock:
    """A run folder, made where it isn't there, that nobody else trains in until `close`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file: IO[str] | None = None

    def acquire(self) -> str:
        """Who holds the lock now, as text: this process. Called by one rank.

        ValueError where another training holds it, or the folder can't be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.file = open(self.folder / "lock", "a+")  # noqa: SIM115 -- open while it is locked
        except OSError as error:
            raise ValueError(
                f"{self.folder}: the run folder can't be written: {error.strerror}; choose another output="
            ) from None
        self.wait()
        holder = {"job": own_job(), "host": platform.node(), "process": os.getpid(), "since": f"{datetime.now():%F %T}"}
        text = json.dumps(holder)
        self.file.truncate(0)
        self.file.write(text)
        self.file.flush()
        return text

    def wait(self) -> None:
        begin = time.monotonic()
        while not self.locked():
            holder = holder_of(self.file)
            own = holder.get("job") is not None and holder["job"] == own_job()
            if time.monotonic() - begin > (OWN_PATIENCE if own else PATIENCE):
                self.close()
                raise ValueError(
                    f"{self.folder}: is being trained by {describe_holder(holder)}; wait for it, end it, or choose "
                    f"another name="
                )
            time.sleep(0.2)

    def locked(self) -> bool:
        try:
            fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            log.warning(f"{self.folder}: keeps no locks ({error.strerror}): see to it that no other job trains in it")
        return True

    def close(self) -> None:
        if self.file:
            self.file.close()
        self.file = None


def own_job() -> str | None:
    return os.environ.get("SLURM_JOB_ID")


def holder_of(file: IO[str]) -> dict:
    """What the lock's file says; empty while it is being written."""
    file.seek(0)
    try:
        return json.loads(file.read())
    except ValueError:
        return {}


def describe_holder(holder: dict) -> str:
    if not holder:
        return "another process"
    job = f"Slurm's job {holder['job']}, " if holder["job"] else ""
    return f"{job}process {holder['process']} on {holder['host']} since {holder['since']}"


def current_holder(folder: Path) -> str | None:
    """Who trains in a run folder now; None where nobody does. Never called by the process that holds the lock."""
    try:
        with open(folder / "lock") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError as error:
                return describe_holder(holder_of(file)) if error.errno in (errno.EACCES, errno.EAGAIN) else None
    except OSError:
        pass
    return None


def refuse_unshared(folder: Path, holder: str) -> None:
    """ValueError where this node sees another run folder than the first rank, whose `acquire` returned `holder`."""
    begin = time.monotonic()
    while True:
        try:
            found = (folder / "lock").read_text()
        except OSError:
            found = ""
        if found == holder:
            return
        if time.monotonic() - begin > UNSEEN:
            raise ValueError(
                f"{folder}: {platform.node()} doesn't see the run folder of {describe_holder(json.loads(holder))}; "
                f"choose an output= on a file system that all nodes share"
            )
        time.sleep(0.2)
