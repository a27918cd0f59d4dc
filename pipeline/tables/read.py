"""The rows of several runs in one table."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.evaluation.results import PER_TRIAL, read_rows


def read_results(folders: list[Path]) -> tuple[pd.DataFrame, dict[str, Path]]:
    """Returns the rows of all runs, in the order given, and each run's folder.

    Folders without results are left out, with a line to stderr; ValueError where none has any, or one isn't there. Runs
    of the same name in different folders are called by their folders.
    """
    found, without = {}, []
    for folder in {folder.resolve(): folder for folder in folders}.values():
        if (folder / "results.csv").is_file():
            found[folder] = read_rows(folder / "results.csv")
        elif folder.exists():
            without.append(f"{folder}: no results.csv; `python -m pipeline.evaluate` makes one")
        else:
            raise ValueError(f"{folder}: expected the folder of a run; found none")
    if not found:
        raise ValueError(without[0] + (f" ({len(without)} folders have none)" if len(without) > 1 else ""))
    for reason in without:
        print(f"left out: {reason}", file=sys.stderr)
    names = pd.Series([name for rows in found.values() for name in rows["run"].unique()])
    twice = set(names[names.duplicated()])
    for folder, rows in found.items():
        rows["run"] = [str(folder / run) if run in twice and run != folder.name else run for run in rows["run"]]
        rows["run"] = [str(folder) if run in twice else run for run in rows["run"]]
    rows = pd.concat(found.values(), ignore_index=True)
    counts = [name for name in PER_TRIAL if name in rows]
    rows[counts] = rows[counts].fillna(0).astype(np.int64)
    text = rows.columns.difference(rows.select_dtypes("number").columns)
    return rows.fillna(dict.fromkeys(text, "")), {run: folder for folder, own in found.items() for run in own["run"]}
