"""A table before it is written in a format: labels, metrics, and which of them are the best."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

BEST, SECOND = "best", "second"


@dataclass(frozen=True)
class Table:
    """n rows; `labels`, `shown` and `deviations` are text, their columns pairs (heading, column).

    labels      (n, l) names of the rows
    shown       (n, m) metrics in per cent as they are printed; empty where there is none
    deviations  (n, m) printed small behind a metric: its standard deviation or an interval
    block       n texts: metrics of one block are compared for the best of a column; None: a row of none
    rules       numbers of rows with a line above
    """

    name: str
    caption: str
    labels: pd.DataFrame
    shown: pd.DataFrame
    deviations: pd.DataFrame
    block: list[str | None]
    rules: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def marks(self) -> pd.DataFrame:
        """Returns (n, m) BEST, SECOND or nothing, by the metrics as printed: equal ones share their mark.

        A metric that is compared with no other one isn't the best of anything.
        """
        values = self.shown.replace("", np.nan).astype(float)
        marks = pd.DataFrame("", index=values.index, columns=values.columns)
        for block in {block for block in self.block if block is not None}:
            rows = [number for number, own in enumerate(self.block) if own == block]
            for column in range(values.shape[1]):
                metrics = values.iloc[rows, column].dropna()
                for mark, value in zip((BEST, SECOND), sorted(set(metrics), reverse=True), strict=False):
                    if len(metrics) > 1:
                        marks.loc[metrics.index[metrics == value], values.columns[column]] = mark
        return marks
