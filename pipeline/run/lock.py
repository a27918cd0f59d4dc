"""One training at a time in a run folder, whichever nodes they run on.

The first rank holds the lock of the folder's file `lock` (`pipeline.locking`), which names its process; the name counts
only while the file is locked, and no clock is compared.
"""

from __future__ import annotations

import json
import logging
import platform
import time
from pathlib import Path

from pipeline import locking
from pipeline.locking import Lock, describe_holder, own_job, said_holder

PATIENCE = 2.0  # seconds in which a job that has just been cancelled ends
OWN_PATIENCE = 150.0  # seconds for the processes of this very job before it was requeued, perhaps on a lost node
UNSEEN = 10.0  # seconds for another node to see a new file

log = logging.getLogger("pipeline")


class RunLock:
    """A run folder, made where it doesn't exist, in which no other process trains until `close`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = Lock(lock_path(folder))

    def acquire(self) -> str:
        """Returns who holds the lock now, as text: this process. Called by one rank.

        Raises ValueError where another training holds it, or the folder can't be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            holder = self.wait()
        except OSError as error:
            raise ValueError(
                f"{self.folder}: the run folder can't be written: {error.strerror}; choose another output="
            ) from None
        if self.lock.refused:
            log.warning(
                f"{self.folder}: keeps no locks ({self.lock.refused}): {self.lock.marker.name} stands for one; a kill "
                f"leaves it behind, and a start on another host will ask for its removal"
            )
        return holder

    def wait(self) -> str:
        begin = time.monotonic()
        while (text := self.lock.acquire()) is None:
            holder = said_holder(self.lock.path)
            own = holder.get("job") is not None and holder["job"] == own_job()
            if time.monotonic() - begin > (OWN_PATIENCE if own else PATIENCE):
                raise ValueError(
                    f"{self.folder}: is being trained by {describe_holder(holder)}; wait for it, end it, or choose "
                    f"another name={self.lock.advice()}"
                )
            time.sleep(0.2)
        return text

    def close(self) -> None:
        self.lock.release()


def lock_path(folder: Path) -> Path:
    return folder / "lock"


def current_training(folder: Path) -> str | None:
    """Returns the process that trains in a run folder now, in words; None where none does."""
    holder = locking.current_holder(lock_path(folder))
    return None if holder is None else describe_holder(holder)


def check_shared_folder(folder: Path, holder: str) -> None:
    """Raises ValueError where this node sees another run folder than the first rank, whose `acquire` gave `holder`."""
    begin = time.monotonic()
    while True:
        try:
            found = lock_path(folder).read_text()
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
