"""One test of a protocol as data, the rules of which pairs are left out, and what the protocols share."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from pipeline.batch import Modality

DIRECTIONS = {
    "visible_to_infrared": (Modality.VISIBLE, Modality.INFRARED),
    "infrared_to_visible": (Modality.INFRARED, Modality.VISIBLE),
}


@dataclass(frozen=True)
class Trial:
    """What is searched for and where.

    query       (Q,) int64, rows of the index
    gallery     (G,) int64, rows of the index, in the order that decides between equal distances
    exclusion   name in `EXCLUSIONS` of the rule for pairs left out
    deduplicate whether the CMC counts each identity of the ranked gallery once
    fields      columns of the results row: mode, shots, gallery_rule, direction, trial
    """

    query: np.ndarray
    gallery: np.ndarray
    exclusion: str
    deduplicate: bool
    fields: dict[str, str | int]

    def within(self, rows: np.ndarray) -> Trial:
        """The same trial of an index that has `rows` (n,) of this one's only, ascending, all of its own among them."""
        return replace(self, query=np.searchsorted(rows, self.query), gallery=np.searchsorted(rows, self.gallery))


Exclusion = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def exclude_none(
    query_identities: np.ndarray, query_cameras: np.ndarray, gallery_identities: np.ndarray, gallery_cameras: np.ndarray
) -> np.ndarray:
    return np.zeros((len(query_identities), len(gallery_identities)), dtype=bool)


def exclude_same_place(
    query_identities: np.ndarray, query_cameras: np.ndarray, gallery_identities: np.ndarray, gallery_cameras: np.ndarray
) -> np.ndarray:
    """SYSU-MM01: cameras 3 and 2 stand in one room, so a query of camera 3 skips all of camera 2."""
    return (query_cameras[:, None] == 3) & (gallery_cameras[None, :] == 2)


def exclude_same_identity_and_camera(
    query_identities: np.ndarray, query_cameras: np.ndarray, gallery_identities: np.ndarray, gallery_cameras: np.ndarray
) -> np.ndarray:
    """LLCM: a query skips the gallery images of its own identity and camera."""
    same_identity = query_identities[:, None] == gallery_identities[None, :]
    return same_identity & (query_cameras[:, None] == gallery_cameras[None, :])


# Each takes (Q,) identities and cameras of queries and (G,) of the gallery; (Q, G) bool, True for a pair left out.
EXCLUSIONS: dict[str, Exclusion] = {
    "none": exclude_none,
    "same_place": exclude_same_place,
    "same_identity_and_camera": exclude_same_identity_and_camera,
}


def rows_of(index: pd.DataFrame, split: str, modality: Modality, cameras: Sequence[int] | None = None) -> np.ndarray:
    """(N,) int64 rows of a split and a modality, of some cameras or all; ValueError where there are none."""
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


def rows_by_identity_and_camera(index: pd.DataFrame, rows: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """(identity, camera), in ascending order, -> its rows in the order of their paths."""
    groups = index.iloc[rows].sort_values("path").groupby(["identity", "camera"], sort=True).groups
    return {(int(identity), int(camera)): found.to_numpy(np.int64) for (identity, camera), found in groups.items()}


def draw_gallery(groups: dict[tuple[int, int], np.ndarray], seed: int) -> np.ndarray:
    """(G,) int64: one row of each group, as `random.seed(seed)` and `random.choice` for each group in turn draw it."""
    generator = random.Random(seed)
    return np.array([generator.choice(rows.tolist()) for rows in groups.values()], dtype=np.int64)


def require_known(names: Sequence[str], known: Sequence[str], key: str) -> None:
    """ValueError where `names` is empty or holds something that isn't in `known`."""
    if isinstance(names, str) or not names or not set(names) <= set(known):
        found = ", ".join(map(repr, names)) if not isinstance(names, str) else f"the word {names!r}"
        raise ValueError(f"{key}: expected a list of {', '.join(known)}; found {found or 'nothing'}")


def require_trials(trials: int, most: int | None = None) -> None:
    if trials < 1 or (most is not None and trials > most):
        limit = f"from 1 to {most}" if most is not None else "of at least 1"
        raise ValueError(f"evaluation.trials: expected a number {limit}; found {trials}")
