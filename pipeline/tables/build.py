"""Builds the tables: our means by themselves, or beside the literature's figures."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from pipeline.datasets.columns import Column
from pipeline.evaluation.results import METRICS, differing, remarks, trial_counts
from pipeline.literature import read_literature
from pipeline.tables.layouts import LAYOUTS, metrics_of, select
from pipeline.tables.lines import Line, lines_of
from pipeline.tables.table import Table
from pipeline.tables.ticks import TICKS, Ticks, ticks_by_row, ticks_of_run

METHODS = {"Baseline": "B2", "Base-Derivative": "B2+MML+MDL4"}  # rows of table 3 that are rows of table 4
OURS, PUBLISHED, MARK = "ours", "published", "†"
ANOTHER_SET = f"{MARK} not the published test, by its gallery ({{}} images): not to be compared with the literature"


def table_of_runs(means: pd.DataFrame) -> Table:
    """A row for each mean, with all metrics; the best of those that the same is asked of are marked."""
    means = means.reset_index(drop=True)
    labels = means[["run", *differing(means)]].astype(str)
    counts = means[["seeds"]] if (means["seeds"] > 1).any() else means[[]]
    labels = pd.concat([labels, counts.astype(str)], axis=1).assign(trials=trial_counts(means))
    asked = [name for name in ("dataset", "split", "test_set", "mode", "shots", "direction") if name in means]
    return Table(
        "runs",
        "Results, per cent",
        labels.set_axis(pd.MultiIndex.from_product([[""], labels.columns]), axis=1),
        numbers(means[METRICS], "{:.2f}"),
        numbers(means[[f"{name}_std" for name in METRICS]].set_axis(METRICS, axis=1), "±{:.2f}"),
        means[asked].agg(" ".join, axis=1).tolist(),
        notes=remarks(means),
    )


def numbers(metrics: pd.DataFrame, pattern: str) -> pd.DataFrame:
    """As text, nothing for NaN; the columns as pairs (heading, column)."""
    text = metrics.map(lambda value: "" if pd.isna(value) else pattern.format(value))
    return text.set_axis(pd.MultiIndex.from_product([[""], metrics.columns]), axis=1)


def table_beside_literature(name: str, means: pd.DataFrame, folders: dict[str, Path]) -> Table:
    """The layout `name` with the lines of our runs. `folders`: of each run's name, where its config.yaml is.

    ValueError where the means have nothing that the layout shows.
    """
    layout = LAYOUTS[name]
    means = select(means, layout.columns).reset_index(drop=True)
    if means.empty:
        shown = " or ".join(dict.fromkeys(" ".join(column.where.values()) for column in layout.columns))
        raise ValueError(f"--layout {name}: expected rows of {shown}; the runs have none")
    lines, notes = lines_of(means, layout.across), remarks(means)
    if layout.ticked:
        entries, left_out = beside_ticks(name, lines, layout.columns, folders)
        notes += left_out
    else:
        entries = beside_each_other(layout.literature, lines, layout.columns)
    other = dict.fromkeys(gallery for line in lines if not line.published for gallery in line.rows["gallery"])
    notes += [ANOTHER_SET.format(" or ".join(other))] if other and layout.literature else []
    notes += [] if layout.literature else [f"no figures of the literature are kept for {layout.caption.split(',')[0]}"]
    return to_table(name, layout.caption, layout.columns, entries, notes)


# An entry: labels by (heading, column), a (figure, what stands beside it) for each column, the block.
Entry = tuple[dict[tuple[str, str], str], list[tuple[str, str]], str]


def to_table(name: str, caption: str, columns: list[Column], entries: list[Entry], notes: list[str]) -> Table:
    names = pd.MultiIndex.from_tuples([(column.head, column.name) for column in columns])
    shown, beside = (
        pd.DataFrame([[pair[place] for pair in pairs] for _, pairs, _ in entries], columns=names) for place in (0, 1)
    )
    labels = pd.DataFrame([list(label.values()) for label, _, _ in entries])
    labels.columns = pd.MultiIndex.from_tuples(list(entries[0][0]))
    ours = [number for number, (label, _, _) in enumerate(entries) if OURS in label.values()]
    rules = ours[:1] if ours and ours[0] > 0 else []
    return Table(name, caption, labels, shown, beside, [block for _, _, block in entries], rules, notes)


def published_metrics(row: pd.Series, columns: list[Column]) -> list[tuple[str, str]]:
    return [(row[column.literature], "") for column in columns]


def our_metrics(line: Line, columns: list[Column]) -> list[tuple[str, str]]:
    return [metrics_of(line.rows, column) for column in columns]


def beside_each_other(literature: str | None, lines: list[Line], columns: list[Column]) -> list[Entry]:
    """The literature's methods, then ours."""
    entries, head = [], [("", "method"), ("", "venue")]
    for _, row in read_literature(literature).iterrows() if literature else []:
        label = dict(zip(head, (row["method"], row["venue"]), strict=True))
        entries.append((label, published_metrics(row, columns), PUBLISHED))
    for line in lines:
        mark = "" if line.published or not literature else MARK
        label = dict(zip(head, (line.name + mark, OURS), strict=True))
        entries.append((label, our_metrics(line, columns), line.block))
    return entries


def beside_ticks(
    name: str, lines: list[Line], columns: list[Column], folders: dict[str, Path]
) -> tuple[list[Entry], list[str]]:
    """Each method of the literature and below it our runs with its modalities and losses; and who is left out."""
    ours, left_out = lines_by_ticks(lines, folders, {column.where["dataset"] for column in columns})
    known, entries = ticks_by_row(), []
    for _, row in read_literature("same_backbone" if name == "same-backbone" else "ablation").iterrows():
        method = row["method"] if name == "same-backbone" else row["row"]
        ticks = known.get(METHODS.get(method, method))
        entries.append((tick_labels(name, method, ticks), published_metrics(row, columns), PUBLISHED))
        entries += [our_entry(name, line, ticks, columns) for line in ours.pop(ticks, [])]
    entries += [our_entry(name, line, ticks, columns) for ticks, rest in ours.items() for line in rest]
    return entries, left_out


def our_entry(name: str, line: Line, ticks: Ticks, columns: list[Column]) -> Entry:
    label = f"{OURS}: {line.name}{'' if line.published else MARK}"
    return tick_labels(name, label, ticks), our_metrics(line, columns), line.block


def tick_labels(name: str, method: str, ticks: Ticks | None) -> dict[tuple[str, str], str]:
    label = {("", "method"): method}
    if name == "ablation":
        label |= {head: "✓" if tick else "" for head, tick in zip(TICKS.values(), ticks, strict=True)}
    return label


def lines_by_ticks(
    lines: list[Line], folders: dict[str, Path], datasets: set[str]
) -> tuple[dict[Ticks, list[Line]], list[str]]:
    """Returns lines of trained networks by their modalities and losses, joined where there is one of each data set.

    And a sentence for each line that has no place in the table.
    """
    found: dict[Ticks, list[Line]] = {}
    left_out = []
    for line in lines:
        try:
            if not set(line.rows["extractor"]) <= {"network", ""} or set(line.rows["epoch"]) == {"0"}:
                raise ValueError("isn't a trained network")
            ticks = ticks_of_run(folders[line.runs[0]])
        except (ValueError, OSError, KeyError) as error:
            left_out.append(f"{line.name} is left out: {error}")
            continue
        found.setdefault(ticks, []).append(line)
    return {ticks: join_data_sets(alike, datasets) for ticks, alike in found.items()}, left_out


def join_data_sets(lines: list[Line], datasets: set[str]) -> list[Line]:
    """Returns one line where there is one of each of the `datasets`, else the lines as they are."""
    found = [line.rows["dataset"].iloc[0] for line in lines]
    if sorted(found) != sorted(datasets):
        return lines
    return [Line(", ".join(dict.fromkeys(line.name for line in lines)), pd.concat([line.rows for line in lines]))]
