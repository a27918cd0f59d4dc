"""Images that can't be decoded, and the images trained on instead."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from pipeline.batch import Modality
from pipeline.loading.sampling import Plan, TrainingTable


@dataclass
class ReplacedCount:
    """The number of images of all ranks replaced since the training began; part of its checkpoints."""

    count: int = 0

    def state_dict(self) -> dict[str, int]:
        return dataclasses.asdict(self)

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.count = state["count"]


class Replacements:
    """The images found to be bad so far. A bad one is replaced by the next good one of the same identity and modality.

    Which one that is depends on the files alone, not on when they were met: a resumed run has the same batches.
    """

    def __init__(self, table: TrainingTable) -> None:
        self.table = table
        self.bad: set[int] = set()

    def good_row(self, row: int, label: int, modality: Modality) -> int:
        """Returns `row`, or where it is bad the next that isn't (after the last the first).

        Raises ValueError where none is.
        """
        if row not in self.bad:
            return row
        rows = self.table.rows[modality][label]
        place = int(np.searchsorted(rows, row))
        good = next((int(other) for other in np.roll(rows, -place) if int(other) not in self.bad), None)
        if good is None:
            identity = self.table.identities[label]
            raise ValueError(f"identity {identity}: none of its {len(rows)} {modality.key} images can be decoded")
        return good

    def apply(self, plan: Plan) -> Plan:
        """Returns the plan with good images instead of bad ones."""
        if not self.bad:
            return plan
        rows = {
            modality: np.array(
                [self.good_row(row, label, modality) for row, label in zip(planned, plan.labels, strict=True)], np.int64
            )
            for modality, planned in plan.rows.items()
        }
        replaced = sum(int((rows[modality] != plan.rows[modality]).sum()) for modality in rows)
        return dataclasses.replace(plan, rows=rows, replaced=replaced)
