"""The rows of several runs in one table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.evaluation.results import VARYING, read_rows


def read_results(folders: list[Path]) -> tuple[pd.DataFrame, dict[str, Path]]:
    """The rows of all runs, in the order given, and each run's folder. ValueError naming a folder without results.

    Runs of the same name in different folders are called by their folders.
    """
    found = {}
    for folder in {folder.resolve(): folder for folder in folders}.values():
        if not (folder / "results.csv").is_file():
            raise ValueError(f"{folder}: no results.csv; `python -m pipeline.evaluate` makes one")
        found[folder] = read_rows(folder / "results.csv")
    names = pd.Series([name for rows in found.values() for name in rows["run"].unique()])
    twice = set(names[names.duplicated()])
    for folder, rows in found.items():
        rows["run"] = [str(folder / run) if run in twice and run != folder.name else run for run in rows["run"]]
        rows["run"] = [str(folder) if run in twice else run for run in rows["run"]]
    rows = pd.concat(found.values(), ignore_index=True)
    counts = [name for name in VARYING if name in rows]
    rows[counts] = rows[counts].fillna(0).astype(np.int64)
    text = rows.columns.difference(rows.select_dtypes("number").columns)
    return rows.fillna(dict.fromkeys(text, "")), {run: folder for folder, own in found.items() for run in own["run"]}
