"""The protocol for a user's own folders: all test images of one modality against all of the other, as in RegDB."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pipeline.protocols.regdb import all_against_all
from pipeline.protocols.trial import DIRECTIONS, Trial


def folder_trials(
    index: pd.DataFrame, directions: Sequence[str] = tuple(DIRECTIONS), split: str = "test"
) -> list[Trial]:
    """One trial, number 1, a direction: nothing is drawn."""
    return all_against_all(index, directions, 1, split)
