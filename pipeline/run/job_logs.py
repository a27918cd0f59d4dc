"""How a run's Slurm jobs ended, by their logs: `slurm/<job>/rank-<n>.txt` of its folder (slurm/train.sh)."""

from __future__ import annotations

import re
from pathlib import Path

REASON = re.compile(r"error: .*|(?:\w+\.)*\w*(?:Error|Exception): .*")  # a line that says why a training failed
STOPPED = "asked to stop"  # in the line of one that was only asked to end


def newest_logs(folder: Path) -> Path | None:
    """Returns the folder of the ranks' logs of a run's newest job; None where there was none."""
    return max((folder / "slurm").glob("*/"), key=lambda logs: logs.stat().st_mtime, default=None)


def failure(logs: Path) -> str | None:
    """Returns `rank-0.txt: error: ...`, the last of the lines that say why a job failed; None where none says so."""
    for file in sorted(logs.glob("rank-*.txt")):
        reason = None
        for line in file.read_text(errors="replace").splitlines():
            reason = line if REASON.fullmatch(line) else None if STOPPED in line else reason
        if reason:
            return f"{file.name}: {reason}"
    return None
