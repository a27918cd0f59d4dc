"""The runs that a run starts from, and those that these started from: what they were trained on may not be tested.

A run keeps what is needed of each in `ancestors/` of its folder, `1-NAME` for the one it starts from, for their folders
may be gone when it is evaluated.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from pipeline.config import load_kept
from pipeline.files import replace_atomically
from pipeline.models.weights import find_weights
from pipeline.run.trained_identities import check_no_leak, check_split_untrained, split_path
from pipeline.run.training_data import training_data_path
from pipeline.settings import Settings

FOLDER = "ancestors"


def ancestors(folder: Path) -> list[Path]:
    """Returns the folders kept of a run's ancestors, the one it started from first."""
    return sorted((folder / FOLDER).glob("*-*"), key=lambda kept: int(kept.name.partition("-")[0]))


def lineage(weights: str | None) -> list[Path]:
    """Returns the folders of the run that `model.weights` names and of its ancestors; none where it isn't a run.

    Raises ValueError or FileNotFoundError where there is nothing of this name.
    """
    if weights is None:
        return []
    try:
        run = find_weights(weights).run
    except (ValueError, FileNotFoundError) as error:
        raise type(error)(f"model.{error}") from None
    return [] if run is None else [run, *ancestors(run)]


def keep_ancestors(folder: Path, weights: str | None) -> None:
    """Copies what a run that begins has to know of its ancestors into its folder."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    for number, run in enumerate(lineage(weights), start=1):
        name = run.name if number == 1 else run.name.partition("-")[2]
        kept = folder / FOLDER / f"{number}-{name}"
        kept.mkdir(parents=True)
        for file in (run / "config.yaml", training_data_path(run), split_path(run)):
            if file.is_file():
                replace_atomically(kept / file.name, partial(shutil.copyfile, file))


def check_ancestors(settings: Settings, runs: Sequence[Path], index: pd.DataFrame) -> None:
    """Raises ValueError where one of the runs was trained on identities of the index that are to be tested."""
    for run in runs:
        kept = load_kept(run / "config.yaml")
        try:
            if settings.data.dataset == kept.data.dataset:
                check_split_untrained(settings.data, kept.data)
            check_no_leak(settings, kept, run, index)
        except ValueError as error:
            raise ValueError(f"model.weights: the network started from the run {run}: {error}") from None
