"""Rows of the index for queries and galleries, and galleries as public code samples them."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.batch import Modality

RANDOM_TRIALS = range(10)  # public code samples galleries with random.seed(0) to random.seed(9)

# (identity, camera) -> rows of the index, in the order of the images' names.
Groups = dict[tuple[int, int], np.ndarray]


def rows_of(index: pd.DataFrame, split: str, modality: Modality, cameras: Sequence[int] | None = None) -> np.ndarray:
    """Returns (N,) int64 rows of a split and a modality, of some cameras or all; ValueError where there are none."""
    chosen = (index["split"] == split) & (index["modality"] == int(modality))
    where = ""
    if cameras is not None:
        chosen &= index["camera"].isin(cameras)
        where = f" of cameras {', '.join(map(str, cameras))}"
    rows = np.flatnonzero(chosen.to_numpy()).astype(np.int64)
    if not len(rows):
        splits = ", ".join(sorted(set(index["split"]))) or "none"
        raise ValueError(
            f"expected {modality.key} images{where} in split {split!r}; found none (splits there are: {splits})"
        )
    return rows


def rows_by_identity_and_camera(index: pd.DataFrame, rows: np.ndarray) -> Groups:
    """Returns (identity, camera), in ascending order, -> its rows in the order of their paths."""
    groups = index.iloc[rows].sort_values("path").groupby(["identity", "camera"], sort=True).groups
    return {(int(identity), int(camera)): found.to_numpy(np.int64) for (identity, camera), found in groups.items()}


def sample_gallery(groups: Groups, seed: int) -> np.ndarray:
    """Returns (G,) int64: one row of each group, as `random.seed(seed)` and then `random.choice` of each choose it."""
    generator = random.Random(seed)
    return np.array([generator.choice(rows.tolist()) for rows in groups.values()], dtype=np.int64)
