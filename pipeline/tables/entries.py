"""Rows of a table while it is put together: published methods, and lines of our runs."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from pipeline.datasets.columns import Column, Layout
from pipeline.literature import read_literature
from pipeline.tables.layouts import metrics_of
from pipeline.tables.lines import Line

OURS, PUBLISHED, MARK = "ours", "published", "†"

Labels = dict[tuple[str, str], str]  # by (heading, column)


@dataclass(frozen=True)
class Entry:
    """One row. metrics: a (mean, deviation) for each column, as printed. block: as in `Table`."""

    labels: Labels
    metrics: list[tuple[str, str]]
    block: str


def published_entry(labels: Labels, row: pd.Series, columns: list[Column]) -> Entry:
    """Returns the entry of a row of the literature, which gives no deviations."""
    return Entry(labels, [(row[column.literature], "") for column in columns], PUBLISHED)


def our_entry(labels: Labels, line: Line, columns: list[Column]) -> Entry:
    """Returns the entry of a line of ours."""
    return Entry(labels, [metrics_of(line.rows, column) for column in columns], line.block)


def published_then_ours(layout: Layout, lines: list[Line]) -> list[Entry]:
    """Returns the published methods, if there are any, and below them ours."""
    entries = []
    if layout.literature:
        for _, row in read_literature(layout.literature).iterrows():
            entries.append(published_entry(method_labels(row["method"], row["venue"]), row, layout.columns))
    for line in lines:
        mark = "" if line.published or not layout.literature else MARK
        entries.append(our_entry(method_labels(line.name + mark, OURS), line, layout.columns))
    return entries


def method_labels(method: str, venue: str) -> Labels:
    return {("", "method"): method, ("", "venue"): venue}
