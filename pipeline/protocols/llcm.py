"""The protocol of LLCM (Zhang and Wang, CVPR 2023): all images of one modality as queries; one drawn image of each
identity in each camera of the other as gallery, with `random.seed(trial)` for the trials 0-9.

From visible to infrared there are two readings. `paper`: the above. `repository`: in the authors' code the drawn
infrared images are the queries and all visible images the gallery. Figures of the two can't be compared.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pipeline.protocols.trial import (
    DIRECTIONS,
    Trial,
    draw_gallery,
    require_known,
    require_trials,
    rows_by_identity_and_camera,
    rows_of,
)

READINGS = ("paper", "repository")


def llcm_trials(
    index: pd.DataFrame,
    directions: Sequence[str] = tuple(DIRECTIONS),
    reading: str = "paper",
    split: str = "test",
    trials: int = 10,
) -> list[Trial]:
    """The first `trials` trials of each direction; the results' column mode holds the reading."""
    require_known(directions, tuple(DIRECTIONS), "evaluation.directions")
    require_known([reading], READINGS, "evaluation.reading")
    require_trials(trials)
    made = []
    for direction in directions:
        whole_modality, drawn_modality = DIRECTIONS[direction]
        whole = rows_of(index, split, whole_modality)
        groups = rows_by_identity_and_camera(index, rows_of(index, split, drawn_modality))
        swapped = reading == "repository" and direction == "visible_to_infrared"
        for trial in range(trials):
            drawn = draw_gallery(groups, trial)
            query, gallery = (drawn, whole) if swapped else (whole, drawn)
            fields = {"mode": reading, "shots": "single", "gallery_rule": "random_seed", "direction": direction}
            made.append(Trial(query, gallery, "same_identity_and_camera", True, {**fields, "trial": trial}))
    return made
