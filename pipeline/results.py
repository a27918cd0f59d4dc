"""Results as tidy rows, one per trial, in per cent; their means over trials."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pandas as pd

from pipeline.files import write_atomically

METRICS = ["rank_1", "rank_5", "rank_10", "rank_20", "mAP", "mINP"]
VARYING = ["trial", "queries", "gallery"]  # differ between the trials that one mean is over


def read_rows(path: Path) -> pd.DataFrame:
    """The rows of a results.csv. Hashes stay text, also where they look like numbers."""
    return pd.read_csv(path, dtype={"config": str, "test_set": str})


def append_rows(path: Path, rows: pd.DataFrame) -> None:
    """Adds rows to the CSV `path`. A row that repeats one already there in all but its metrics replaces it.

    The file is replaced whole, under a lock: a kill or a second process loses nothing.
    """
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            rows = pd.concat([read_rows(path), rows], ignore_index=True)
        identifying = [column for column in rows.columns if column not in METRICS]
        # as text: a value read back from the file is the same value, whatever its type became
        duplicated = rows[identifying].astype(str).duplicated(keep="last")
        write_atomically(path, rows[~duplicated].to_csv(index=False))


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over the trials of rows that agree in everything else.

    Index: the run and the columns that differ within a run; columns: (metric, "mean" | "std") and ("trials", "").
    """
    agreeing = [column for column in rows.columns if column not in [*METRICS, *VARYING]]
    within = rows.astype(str).groupby("run", sort=False)[[name for name in agreeing if name != "run"]].nunique()
    shown = ["run", *within.columns[(within > 1).any()]]
    groups = rows.groupby(agreeing, dropna=False, sort=False)
    table = groups[METRICS].agg(["mean", "std"])
    table["trials"] = groups.size()
    return table.droplevel([name for name in agreeing if name not in shown])


def format_summary(table: pd.DataFrame) -> str:
    """A summary as text: `51.05 ±1.20`, the deviation where there are several trials."""
    lines = table.index.to_frame(index=False).astype(str)
    for metric in METRICS:
        lines[metric] = [
            f"{mean:.2f}" if pd.isna(std) else f"{mean:.2f} ±{std:.2f}" for mean, std in table[metric].to_numpy()
        ]
    lines["trials"] = table["trials"].to_numpy()
    return lines.to_string(index=False)
