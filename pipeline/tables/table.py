"""A table before it is written in a format: labels, figures, and which of them are the best."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

BEST, SECOND = "best", "second"


@dataclass(frozen=True)
class Table:
    """n rows; `labels`, `shown` and `beside` are text, their columns pairs (heading, column).

    labels  (n, l) what a row is
    shown   (n, m) figures in per cent as they are printed; nothing where there is none
    beside  (n, m) what stands small behind a figure: a deviation, an interval
    block   n texts: figures of one block are compared for the best of a column; None: a row of none
    rules   numbers of rows that a line is drawn above
    """

    name: str
    caption: str
    labels: pd.DataFrame
    shown: pd.DataFrame
    beside: pd.DataFrame
    block: list[str | None]
    rules: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def marks(self) -> pd.DataFrame:
        """(n, m) BEST, SECOND or nothing, by the figures as printed: equal ones share their mark.

        A figure that is compared with no other one isn't the best of anything.
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
