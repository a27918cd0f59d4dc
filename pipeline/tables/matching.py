"""Our runs below the published row of the same method, which its configuration tells.

That is the row of the method's published name, or, of the base-derivative method, the one with the same ticks of
table 4: its modalities and losses. Runs of no published row stand last.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from pipeline.config import load_kept
from pipeline.datasets.columns import Layout
from pipeline.literature import read_literature
from pipeline.methods.method import method_of
from pipeline.settings import Settings
from pipeline.tables.entries import Entry, our_entry, published_entry
from pipeline.tables.lines import Line
from pipeline.tables.ticks import Ticks, ticks_by_row, ticks_of


@dataclass(frozen=True)
class Shown:
    """A line of ours that a table shows.

    row     the published row of the same method; None: there is none
    ticks   those of table 4; None: of another method, or not known
    method  what the method is called; empty where nothing is known of it
    why     it has no ticks
    """

    line: Line
    row: str | None = None
    ticks: Ticks | None = None
    method: str = ""
    why: str = ""


def shown_lines(layout: Layout, lines: list[Line], folders: dict[str, Path]) -> tuple[list[Shown], list[str]]:
    """Returns the lines that the layout shows, those of no published row in their order, and notes on lines.

    folders: of each run's name, where its config.yaml is.
    """
    found, left_out = [], []
    for line in lines:
        try:
            found.append(match(layout, line, trained_with(line, folders)))
        except (ValueError, OSError, KeyError) as error:
            if layout.trained:
                left_out.append(f"{line.name} is left out: {error}")
            else:
                found.append(Shown(line))
    found = join_data_sets(found, {column.where["dataset"] for column in layout.columns})
    if not layout.trained:
        return found, []
    found.sort(key=lambda own: own.ticks is None)  # those with ticks first
    return found, [*reasons(own for own in found if not own.row and not own.ticks), *left_out]


def entries_of(layout: Layout, shown: list[Shown]) -> list[Entry]:
    """Returns each published row followed by our lines of its method, then our other lines."""
    ticks, entries = ticks_by_row(), []
    for _, row in published_rows(layout).iterrows():
        name = row[layout.label]
        entries.append(published_entry(layout, row, ticks.get(name)))
        entries += [our_entry(layout, own.line, own.line.name, True, own.ticks) for own in shown if own.row == name]
    for own in shown:
        if own.row is None:
            other = f" ({own.method})" if layout.trained and own.ticks is None else ""
            entries.append(our_entry(layout, own.line, own.line.name + other, False, own.ticks))
    return entries


def published_rows(layout: Layout) -> pd.DataFrame:
    return read_literature(layout.literature) if layout.literature else pd.DataFrame()


def match(layout: Layout, line: Line, settings: Settings) -> Shown:
    """Returns a line trained with the settings, with the published row of its method."""
    rows, published = published_rows(layout), settings.method.published
    names = list(rows[layout.label]) if len(rows) else []
    method, backbone = method_of(settings).label(settings), settings.model.backbone.partition(".")[0]
    row = published if published in names and layout.backbone in (None, backbone) else None
    if set(line.rows.get("projection", pd.Series())) - {"", settings.evaluation.projection}:
        row = None  # tested with another metric than the method's
    try:
        ticks = ticks_of(settings)
    except ValueError as error:
        return Shown(line, row, method=method, why=str(error))
    alike = [name for name, own in ticks_by_row().items() if own == ticks and name in names]
    return Shown(line, row or next(iter(alike), None), ticks, method)


def trained_with(line: Line, folders: dict[str, Path]) -> Settings:
    """Returns the configuration of a line's first run.

    Raises ValueError where nothing was trained or the configuration can't be read, FileNotFoundError without one.
    """
    if not set(line.rows["extractor"]) <= {"network", ""} or set(line.rows["epoch"]) == {"0"}:
        raise ValueError("isn't a trained network")
    return load_kept(folders[line.runs[0]] / "config.yaml")


def join_data_sets(shown: list[Shown], datasets: set[str]) -> list[Shown]:
    """Returns one line of each method of which there is one of each of the `datasets`, the others as they are."""
    if len(datasets) == 1:
        return shown
    groups: dict[object, list[Shown]] = {}
    for own in shown:
        groups.setdefault(own.row or own.ticks or id(own), []).append(own)
    return [joined for alike in groups.values() for joined in join(alike, datasets)]


def join(alike: list[Shown], datasets: set[str]) -> list[Shown]:
    """Returns one line where there is one of each of the `datasets`, else the lines as they are."""
    lines = [own.line for own in alike]
    if sorted(line.rows["dataset"].iloc[0] for line in lines) != sorted(datasets):
        return alike
    name = ", ".join(dict.fromkeys(line.name for line in lines))
    return [replace(alike[0], line=Line(name, pd.concat([line.rows for line in lines])))]


def reasons(unticked: Iterable[Shown]) -> list[str]:
    """Returns a sentence for each reason why lines have no ticks, with the names of all of them."""
    names: dict[str, list[str]] = {}
    for own in unticked:
        names.setdefault(own.why, []).append(own.line.name)
    return [f"{', '.join(own)} {'has' if len(own) == 1 else 'have'} no ticks: {why}" for why, own in names.items()]
