"""Our runs below the published method that they are, found by the ticks of table 4: their modalities and losses.

Runs that the ticks can't describe, as of another backbone or with another loss, are shown last and without ticks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from pipeline.config import load_kept
from pipeline.datasets.columns import Layout, Matching
from pipeline.literature import read_literature
from pipeline.methods.method import method_of
from pipeline.settings import Settings
from pipeline.tables.entries import MARK, OURS, Entry, Labels, our_entry, published_entry
from pipeline.tables.lines import Line
from pipeline.tables.ticks import TICKS, Ticks, ticks_by_row, ticks_of


@dataclass(frozen=True)
class Unticked:
    """A line of another method than those of table 4. method: its label. reason: why it has no ticks."""

    line: Line
    method: str
    reason: str


@dataclass
class LinesByTicks:
    """Lines of trained networks by their ticks, those without ticks, and a sentence for each line left out."""

    ticked: dict[Ticks, list[Line]] = field(default_factory=dict)
    unticked: list[Unticked] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def entries_by_method(
    layout: Layout, matching: Matching, lines: list[Line], folders: dict[str, Path]
) -> tuple[list[Entry], list[str]]:
    """Returns each published method followed by our runs of it, then our other runs; and notes on the latter.

    folders: of each run's name, where its config.yaml is.
    """
    assert layout.literature, "rows can only be matched with published ones"
    sorted_lines = sort_by_ticks(lines, folders)
    datasets = {column.where["dataset"] for column in layout.columns}
    ours = {ticks: join_data_sets(alike, datasets) for ticks, alike in sorted_lines.ticked.items()}
    known, entries = ticks_by_row(), []
    for _, row in read_literature(layout.literature).iterrows():
        name = row[matching.label]
        ticks = known.get(matching.row_of.get(name, name))  # None: of another method than those of table 4
        entries.append(published_entry(row_labels(matching, name, ticks), row, layout.columns))
        # popped, so that what is left are the runs of no published row
        for line in ours.pop(ticks, []) if ticks else []:
            entries.append(our_entry(row_labels(matching, our_label(line), ticks), line, layout.columns))
    for ticks, rest in ours.items():
        for line in rest:
            entries.append(our_entry(row_labels(matching, our_label(line), ticks), line, layout.columns))
    for other in sorted_lines.unticked:
        label = our_label(other.line, other.method)
        entries.append(our_entry(row_labels(matching, label, None), other.line, layout.columns))
    return entries, [*reasons(sorted_lines.unticked), *sorted_lines.left_out]


def row_labels(matching: Matching, name: str, ticks: Ticks | None) -> Labels:
    labels = {("", "method"): name}
    if matching.printed:
        ticks = ticks or (False,) * len(TICKS)
        labels |= {head: "✓" if tick else "" for head, tick in zip(TICKS.values(), ticks, strict=True)}
    return labels


def our_label(line: Line, method: str = "") -> str:
    """Returns `ours: b1`, or `ours: b1 (method)`; marked where the test isn't the published one."""
    return f"{OURS}: {line.name}{f' ({method})' if method else ''}{'' if line.published else MARK}"


def sort_by_ticks(lines: list[Line], folders: dict[str, Path]) -> LinesByTicks:
    """Sorts lines by what their runs' configurations tell; the runs of one line have one method."""
    found = LinesByTicks()
    for line in lines:
        try:
            settings = trained_with(line, folders)
        except (ValueError, OSError, KeyError) as error:
            found.left_out.append(f"{line.name} is left out: {error}")
            continue
        try:
            found.ticked.setdefault(ticks_of(settings), []).append(line)
        except ValueError as error:
            found.unticked.append(Unticked(line, method_of(settings).label(settings), str(error)))
    return found


def trained_with(line: Line, folders: dict[str, Path]) -> Settings:
    """Returns the configuration of a line's first run.

    Raises ValueError where nothing was trained or the configuration can't be read, FileNotFoundError without one.
    """
    if not set(line.rows["extractor"]) <= {"network", ""} or set(line.rows["epoch"]) == {"0"}:
        raise ValueError("isn't a trained network")
    return load_kept(folders[line.runs[0]] / "config.yaml")


def join_data_sets(lines: list[Line], datasets: set[str]) -> list[Line]:
    """Returns one line where there is one of each of the `datasets`, else the lines as they are."""
    found = [line.rows["dataset"].iloc[0] for line in lines]
    if sorted(found) != sorted(datasets):
        return lines
    return [Line(", ".join(dict.fromkeys(line.name for line in lines)), pd.concat([line.rows for line in lines]))]


def reasons(unticked: list[Unticked]) -> list[str]:
    """Returns a sentence for each reason why lines have no ticks, with the names of all of them."""
    names: dict[str, list[str]] = {}
    for other in unticked:
        names.setdefault(other.reason, []).append(other.line.name)
    return [f"{', '.join(own)} {'has' if len(own) == 1 else 'have'} no ticks: {why}" for why, own in names.items()]
