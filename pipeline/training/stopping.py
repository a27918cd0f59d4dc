"""Stop requests: a training ends early with a checkpoint after the next step, and the same command resumes."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class StopRequest:
    """Asked for by SIGTERM, by SIGUSR1, by Ctrl-C, or by the existence of the file that STOP_FILE names.

    As a context manager it catches the signals, which then only leave a mark: Slurm sends them to every process of a
    job, and a rank that died of one would take those down that are saving. They don't cut an evaluation short. The file
    is how a batch script asks. Outside of the training Ctrl-C ends the process at once; in it a second one does.
    """

    def __init__(self) -> None:
        self.signalled = False
        self.interrupted = False
        self.saves = False  # whether a training is under way that would save a checkpoint
        self.before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        self.before = {number: signal.signal(number, self.mark) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def mark(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            if self.interrupted or not self.saves:
                raise KeyboardInterrupt
            self.interrupted = True
        self.signalled = True

    def asked(self) -> bool:
        return self.signalled or os.path.exists(os.environ.get("STOP_FILE", ""))

    def confirm(self) -> None:
        """Makes the file where STOP_FILE names one: a batch script then knows why the training ended early."""
        if "STOP_FILE" in os.environ:
            Path(os.environ["STOP_FILE"]).touch()
