"""Builds the tables: our means by themselves, or with the published results."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from pipeline.datasets.columns import Layout
from pipeline.evaluation.results import (
    METRICS,
    corrupted,
    differing,
    marked_runs,
    reconstruction,
    remarks,
    trial_counts,
)
from pipeline.tables.entries import MARK, OURS, Entry
from pipeline.tables.layouts import LAYOUTS, select
from pipeline.tables.lines import lines_of
from pipeline.tables.matching import entries_of, shown_lines
from pipeline.tables.table import Table

ASKED = ("dataset", "split", "test_set", "mode", "shots", "direction", "corruption")  # the same of what is compared
ANOTHER_SET = f"{MARK} not the published test, by its gallery ({{}} images): not to be compared with the literature"


def table_of_runs(means: pd.DataFrame) -> Table:
    """Returns a row for each mean, with all metrics; the best of each protocol are marked."""
    means = means.reset_index(drop=True)
    labels = means[differing(means)].astype(str)
    labels.insert(0, "run", marked_runs(means))
    counts = means[["seeds"]] if (means["seeds"] > 1).any() else means[[]]
    labels = pd.concat([labels, counts.astype(str)], axis=1).assign(trials=trial_counts(means))
    asked = [name for name in ASKED if name in means]
    return Table(
        "runs",
        "Results, per cent",
        labels.set_axis(pd.MultiIndex.from_product([[""], labels.columns]), axis=1),
        numbers(means[METRICS], "{:.2f}"),
        numbers(means[[f"{name}_std" for name in METRICS]].set_axis(METRICS, axis=1), "±{:.2f}"),
        means[asked].agg(" ".join, axis=1).tolist(),
        notes=[*remarks(means), *reconstruction(means)],
    )


def numbers(metrics: pd.DataFrame, pattern: str) -> pd.DataFrame:
    """Returns metrics as text, empty for NaN; the columns as pairs (heading, column)."""
    text = metrics.map(lambda value: "" if pd.isna(value) else pattern.format(value))
    return text.set_axis(pd.MultiIndex.from_product([[""], metrics.columns]), axis=1)


def table_beside_literature(name: str, means: pd.DataFrame, folders: dict[str, Path]) -> Table:
    """Returns the layout `name` with our runs. folders: of each run's name, where its config.yaml is.

    Raises ValueError where the means have nothing that the layout shows.
    """
    layout = LAYOUTS[name]
    means = select(means[~corrupted(means)], layout.columns).reset_index(drop=True)
    if means.empty:
        shown = " or ".join(dict.fromkeys(" ".join(column.where.values()) for column in layout.columns))
        raise ValueError(f"--layout {name}: expected rows of {shown}; the runs have none")
    lines = lines_of(means, layout.across)
    ours, reasons = shown_lines(layout, lines, folders)
    notes = [*remarks(means), *reasons]
    other = dict.fromkeys(gallery for line in lines if not line.published for gallery in line.rows["gallery"])
    notes += [ANOTHER_SET.format(" or ".join(other))] if other and layout.literature else []
    notes += [] if layout.literature else [f"no results of the literature are kept for {layout.caption.split(',')[0]}"]
    notes += reconstruction(pd.concat([own.line.rows for own in ours])) if ours else []
    return to_table(name, layout, entries_of(layout, ours), notes)


def to_table(name: str, layout: Layout, entries: list[Entry], notes: list[str]) -> Table:
    names = pd.MultiIndex.from_tuples([(column.head, column.name) for column in layout.columns])
    shown, deviations = (
        pd.DataFrame([[pair[place] for pair in entry.metrics] for entry in entries], columns=names) for place in (0, 1)
    )
    labels = pd.DataFrame([list(entry.labels.values()) for entry in entries])
    labels.columns = pd.MultiIndex.from_tuples(list(entries[0].labels))
    ours = [number for number, entry in enumerate(entries) if OURS in entry.labels.values()]
    rules = ours[:1] if ours and ours[0] > 0 else []
    return Table(name, layout.caption, labels, shown, deviations, [entry.block for entry in entries], rules, notes)
