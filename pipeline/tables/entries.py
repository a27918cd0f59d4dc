"""Rows of a table while it is put together: published methods, and lines of our runs."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from pipeline.datasets.columns import Layout
from pipeline.evaluation.results import RECONSTRUCTED
from pipeline.tables.layouts import metrics_of
from pipeline.tables.lines import Line
from pipeline.tables.ticks import TICKS, Ticks

OURS, RETRAINED, PUBLISHED, MARK = "ours", "ours, retrained", "published", "†"

Labels = dict[tuple[str, str], str]  # by (heading, column)


@dataclass(frozen=True)
class Entry:
    """One row. metrics: a (mean, deviation) for each column, as printed. block: as in `Table`."""

    labels: Labels
    metrics: list[tuple[str, str]]
    block: str


def published_entry(layout: Layout, row: pd.Series, ticks: Ticks | None) -> Entry:
    """Returns the entry of a row of the literature, which gives no deviations."""
    labels = row_labels(layout, row[layout.label], row.get("venue", ""), ticks)
    return Entry(labels, [(row[column.literature], "") for column in layout.columns], PUBLISHED)


def our_entry(layout: Layout, line: Line, name: str, matched: bool, ticks: Ticks | None) -> Entry:
    """Returns the entry of a line of ours. matched: whether it stands below the published row of its method.

    Its name is marked where the test isn't the published one, and where the method is a reconstruction.
    """
    name += MARK if layout.literature and not line.published else ""
    name += RECONSTRUCTED if line.reconstructed else ""
    whose = RETRAINED if matched else OURS
    labels = row_labels(layout, name if layout.venue else f"{whose}: {name}", whose, ticks)
    return Entry(labels, [metrics_of(line.rows, column) for column in layout.columns], line.block)


def row_labels(layout: Layout, name: str, venue: str, ticks: Ticks | None) -> Labels:
    labels = {("", "method"): name} | ({("", "venue"): venue} if layout.venue else {})
    if layout.ticks:
        ticks = ticks or (False,) * len(TICKS)
        labels |= {head: "✓" if tick else "" for head, tick in zip(TICKS.values(), ticks, strict=True)}
    return labels
