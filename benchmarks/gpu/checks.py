"""Checks and their outcomes, a line each."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable

from pipeline.errors import SHOW_TRACEBACK

SLOW = 5  # seconds after which a check's time is shown

Check = Callable[[], tuple[bool, str]]  # whether it is right, and what was seen


class Checks:
    """Runs checks one after the other; a failing one doesn't stop those after it."""

    def __init__(self) -> None:
        self.bad: list[str] = []

    def attempt(self, name: str, check: Check) -> None:
        """Prints `ok` or `BAD`, the name and what was seen. An exception is BAD; PIPELINE_TRACEBACK=1 shows where."""
        begin = time.perf_counter()
        try:
            right, seen = check()
        except (Exception, SystemExit) as error:  # an entry point ends with the latter
            right, seen = False, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            if os.environ.get(SHOW_TRACEBACK):
                traceback.print_exc()
        seconds = time.perf_counter() - begin
        self.bad += [] if right else [name]
        late = f" ({seconds:.0f} s)" if seconds > SLOW else ""
        print(f"{'ok ' if right else 'BAD'} {name:40s} {seen}{late}", flush=True)

    def attempt_all(self, checks: dict[str, Check]) -> None:
        for name, check in checks.items():
            self.attempt(name, check)

    def end(self) -> int:
        """Prints how many were bad, and which; the exit status."""
        print(f"{len(self.bad)} bad" + (f": {'; '.join(self.bad)}" if self.bad else ""))
        return 1 if self.bad else 0
