"""How each data set is tested: from its index to trials, which say what is searched for and where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.datasets import require_dataset
from pipeline.protocols.folder import folder_trials
from pipeline.protocols.llcm import llcm_trials
from pipeline.protocols.regdb import regdb_trials
from pipeline.protocols.sysu import sysu_trials
from pipeline.protocols.trial import DIRECTIONS, EXCLUSIONS, Trial

__all__ = ["DIRECTIONS", "EXCLUSIONS", "Trial", "trials"]


def trials(
    dataset: str,
    index: pd.DataFrame,
    root: str | Path,
    *,
    split: str = "test",
    modes: Sequence[str] = ("all", "indoor"),
    shots: Sequence[str] = ("single",),
    rule: str = "auto",
    directions: Sequence[str] = tuple(DIRECTIONS),
    reading: str = "paper",
    trial: int = 1,
    trials: int = 10,
) -> list[Trial]:
    """The trials of the data set `dataset` with the index `index` and the folder `root`.

    `modes`, `shots` and `rule` are SYSU-MM01's, `reading` LLCM's, `trial` the number of RegDB's split, `directions`
    those of RegDB, LLCM and folder, `trials` the number of drawn galleries (SYSU-MM01, LLCM). ValueError or
    FileNotFoundError where a trial can't be made as asked.
    """
    makers = {
        "sysu": lambda: sysu_trials(index, root, modes, shots, rule, split, trials),
        "regdb": lambda: regdb_trials(index, directions, trial, split),
        "llcm": lambda: llcm_trials(index, directions, reading, split, trials),
        "folder": lambda: folder_trials(index, directions, split),
    }
    require_dataset(dataset)
    return makers[dataset]()
