"""One test of a protocol as data, and the checks that protocols share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.batch import Modality

DIRECTIONS = {
    "visible_to_infrared": (Modality.VISIBLE, Modality.INFRARED),
    "infrared_to_visible": (Modality.INFRARED, Modality.VISIBLE),
}

# (Q,) identities and cameras of queries and (G,) of the gallery -> (Q, G) bool, True for a pair left out.
Exclusion = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Trial:
    """One search: queries and the gallery they are searched in.

    query       (Q,) int64, rows of the index
    gallery     (G,) int64, rows of the index, in the order that decides between equal distances
    exclusion   the rule for pairs left out; trials with the same function are scored together
    deduplicate whether the CMC counts each identity of the ranked gallery once
    fields      columns of the results row: mode, shots, gallery_rule, direction, trial
    """

    query: np.ndarray
    gallery: np.ndarray
    exclusion: Exclusion
    deduplicate: bool
    fields: dict[str, str | int]

    def within(self, rows: np.ndarray) -> Trial:
        """Returns the same trial of an index with only `rows` (n,) of this one, ascending, the trial's own included."""
        return replace(self, query=np.searchsorted(rows, self.query), gallery=np.searchsorted(rows, self.gallery))


def exclude_none(
    query_identities: np.ndarray, query_cameras: np.ndarray, gallery_identities: np.ndarray, gallery_cameras: np.ndarray
) -> np.ndarray:
    """Returns (Q, G) bool: every pair counts."""
    return np.zeros((len(query_identities), len(gallery_identities)), dtype=bool)


def check_known(names: Sequence[str], known: Sequence[str], name: str) -> None:
    """Raises ValueError where `names`, the value of the setting `name`, is empty or holds what isn't in `known`."""
    if isinstance(names, str) or not names or not set(names) <= set(known):
        found = ", ".join(map(repr, names)) if not isinstance(names, str) else f"the text {names!r}"
        raise ValueError(f"{name}: expected a list of {', '.join(known)}; found {found or 'nothing'}")


def check_trials(trials: int, most: int | None = None) -> None:
    """Raises ValueError where a protocol can't have so many trials."""
    if trials < 1 or (most is not None and trials > most):
        limit = f"from 1 to {most}" if most is not None else "of at least 1"
        raise ValueError(f"evaluation.trials: expected a number {limit}; found {trials}")
