"""From a data set's folder to its index: a table with one row an image (columns: `listing.build_index`)."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import pandas as pd

from pipeline.datasets import folder, llcm, regdb, sysu
from pipeline.datasets.listing import read_text
from pipeline.datasets.pack import Packs, is_packed
from pipeline.text import nearest

# data set -> the settings that decide which identity is in which split
SPLITTING = {
    "sysu": (),
    "regdb": ("trial",),
    "llcm": (),
    "folder": ("test_fraction", "split_seed", "split_file"),
}
DATASETS = tuple(SPLITTING)


def read_index(
    dataset: str,
    root: str | Path,
    *,
    trial: int = 1,
    test_fraction: float = 0.5,
    split_seed: int = 0,
    split_file: str | Path | None = None,
) -> pd.DataFrame:
    """The index of the data set `dataset` (a name in `DATASETS`) in the folder `root`, or packed there.

    `trial` is RegDB's split; `test_fraction`, `split_seed` and `split_file` divide a user's own folders. One line of
    ValueError or FileNotFoundError for everything that isn't as the data set's authors published it, and for packs
    that are damaged, of something else, or older than the folder they were made from (where that is still there).
    """
    require_dataset(dataset)
    readers = {
        "sysu": lambda root: sysu.read_index(root),
        "regdb": lambda root: regdb.read_index(root, trial),
        "llcm": lambda root: llcm.read_index(root),
        "folder": lambda root: folder.read_index(root, test_fraction, split_seed, split_file),
    }
    if not is_packed(root):
        return readers[dataset](root)
    packs = Packs(root)
    packs.refuse_other(dataset, splitting(dataset, trial, test_fraction, split_seed, split_file))
    if os.path.isdir(packs.description.source):
        packs.refuse_stale(readers[dataset](packs.description.source))
    return packs.index


def splitting(
    dataset: str, trial: int, test_fraction: float, split_seed: int, split_file: str | Path | None
) -> dict[str, int | float | str | None]:
    """What decides who is in which split: the settings that count for the data set, a split file by its content."""
    content = None if split_file is None else f"CRC-32 {zlib.crc32(read_text(Path(split_file)).encode()):08x}"
    given = {"trial": trial, "test_fraction": test_fraction, "split_seed": split_seed, "split_file": content}
    return {name: given[name] for name in SPLITTING[dataset]}


def require_dataset(dataset: str) -> None:
    """ValueError where there is no such data set, with the nearest name."""
    if dataset not in DATASETS:
        hint = nearest(dataset.lower(), DATASETS)
        raise ValueError(f"data.dataset: expected one of {', '.join(DATASETS)}; found {dataset!r}{hint}")
