"""metrics.csv: the curves of a training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pipeline.files import write_atomically
from pipeline.metric_columns import MEASURED, POSITION


def read_metrics(path: Path) -> pd.DataFrame:
    """Returns the rows of a metrics.csv as numbers; NaN where a crash truncated a row.

    No rows where there is no file yet.
    """
    if not path.is_file() or not path.stat().st_size:
        return pd.DataFrame(columns=["step", "epoch"], dtype=float)
    return pd.read_csv(path, on_bad_lines="skip").apply(pd.to_numeric, errors="coerce")


class MetricsFile:
    """metrics.csv: one row per interval of steps, appended as they come.

    Stages of a training may report other parts of the loss, which are empty in the rows without them. Rows after the
    step that the run resumes from, and a row that a crash truncated, are dropped at the start.
    """

    def __init__(self, path: Path, resumed_step: int) -> None:
        self.path = path
        if not path.exists():
            return
        rows = read_metrics(path)
        whole = [name for name in (*POSITION, "loss", *MEASURED) if name in rows]
        kept = rows[rows["step"] <= resumed_step].dropna(subset=whole)
        write_atomically(path, kept.to_csv(index=False) if len(kept) else "")

    def append(self, row: Mapping[str, float | None]) -> None:
        first = not self.path.exists() or self.path.stat().st_size == 0
        columns = [*row] if first else [*pd.read_csv(self.path, nrows=0)]
        if new := [name for name in row if name not in columns]:
            columns = self.widen(columns, new)
        pd.DataFrame([row], columns=columns).to_csv(self.path, mode="a", header=first, index=False)

    def widen(self, columns: list[str], new: list[str]) -> list[str]:
        """Gives the rows there are empty columns in front of what every row measures; returns all columns."""
        place = next((columns.index(name) for name in MEASURED if name in columns), len(columns))
        columns = [*columns[:place], *new, *columns[place:]]
        write_atomically(self.path, pd.read_csv(self.path, dtype=str).reindex(columns=columns).to_csv(index=False))
        return columns
