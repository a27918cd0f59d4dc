"""From a data set's folder to its index: a table with one row an image (columns: `listing.build_index`)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from pipeline.datasets import folder, llcm, regdb, sysu
from pipeline.text import nearest

DATASETS = ("sysu", "regdb", "llcm", "folder")


def read_index(
    dataset: str,
    root: str | Path,
    *,
    trial: int = 1,
    test_fraction: float = 0.5,
    split_seed: int = 0,
    split_file: str | Path | None = None,
) -> pd.DataFrame:
    """The index of the data set `dataset` (a name in `DATASETS`) in the folder `root`.

    `trial` is RegDB's split; `test_fraction`, `split_seed` and `split_file` divide a user's own folders. One line of
    ValueError or FileNotFoundError for everything that isn't as the data set's authors published it.
    """
    readers = {
        "sysu": lambda: sysu.read_index(root),
        "regdb": lambda: regdb.read_index(root, trial),
        "llcm": lambda: llcm.read_index(root),
        "folder": lambda: folder.read_index(root, test_fraction, split_seed, split_file),
    }
    require_dataset(dataset)
    return readers[dataset]()


def require_dataset(dataset: str) -> None:
    """ValueError where there is no such data set, with the nearest name."""
    if dataset not in DATASETS:
        hint = nearest(dataset.lower(), DATASETS)
        raise ValueError(f"data.dataset: expected one of {', '.join(DATASETS)}; found {dataset!r}{hint}")
