"""Which tables there are, and which means stand in which column."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pipeline.datasets import DATASETS
from pipeline.datasets.columns import Column, Layout
from pipeline.literature.tables import TABLES_OF_BOTH

LAYOUTS: dict[str, Layout] = {name: table for dataset in DATASETS.values() for name, table in dataset.tables.items()}
LAYOUTS |= TABLES_OF_BOTH


def select(means: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """Returns the means that the columns show."""
    return means[pd.concat([matches(means, column) for column in columns], axis=1).any(axis=1)]


def metrics_of(rows: pd.DataFrame, column: Column) -> tuple[str, str]:
    """Returns the mean and the deviation of a column among a line's rows, as printed; nothing where there is none."""
    chosen = rows[matches(rows, column)]
    assert len(chosen) <= 1, "one line has several means of a column"
    if chosen.empty:
        return "", ""
    mean, std = chosen.iloc[0].reindex([column.metric, f"{column.metric}_std"])
    return "" if pd.isna(mean) else f"{mean:.2f}", "" if pd.isna(std) else f"±{std:.2f}"


def matches(rows: pd.DataFrame, column: Column) -> pd.Series:
    """Returns (n,) bool: which rows belong into the column."""
    return (rows[list(column.where)] == pd.Series(column.where)).all(axis=1)
