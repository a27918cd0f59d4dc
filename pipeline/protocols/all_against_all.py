"""All images of one modality as queries, all of the other as gallery: nothing is left to chance."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pipeline.protocols.galleries import rows_of
from pipeline.protocols.trial import DIRECTIONS, Trial, check_known, exclude_none


def all_against_all(
    index: pd.DataFrame, directions: Sequence[str] = tuple(DIRECTIONS), split: str = "test", trial: int = 1
) -> list[Trial]:
    """Returns one trial a direction, of the number `trial`."""
    check_known(directions, tuple(DIRECTIONS), "evaluation.directions")
    made = []
    for direction in directions:
        query, gallery = (rows_of(index, split, modality) for modality in DIRECTIONS[direction])
        fields: dict[str, str | int] = {"mode": "all", "shots": "all", "gallery_rule": "all"}
        fields |= {"direction": direction, "trial": trial}
        made.append(Trial(query, gallery, exclude_none, False, fields))
    return made
