"""The protocol of RegDB (Nguyen et al., Sensors 2017): all test images of one modality against all of the other.

Its ten trials are ten trainings: a model trained on split k is tested on split k only.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pipeline.protocols.trial import DIRECTIONS, Trial, require_known, rows_of


def regdb_trials(
    index: pd.DataFrame, directions: Sequence[str] = tuple(DIRECTIONS), trial: int = 1, split: str = "test"
) -> list[Trial]:
    """One trial a direction; `trial` is the number of the split (1-10) that `index` was read with."""
    return all_against_all(index, directions, trial, split)


def all_against_all(index: pd.DataFrame, directions: Sequence[str], trial: int, split: str) -> list[Trial]:
    """One trial a direction, with all images of a modality as queries and all of the other as gallery."""
    require_known(directions, tuple(DIRECTIONS), "evaluation.directions")
    made = []
    for direction in directions:
        query, gallery = (rows_of(index, split, modality) for modality in DIRECTIONS[direction])
        fields = {"mode": "all", "shots": "all", "gallery_rule": "all", "direction": direction, "trial": trial}
        made.append(Trial(query, gallery, "none", False, fields))
    return made
