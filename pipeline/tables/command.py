"""From run folders to printed or written tables."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from pipeline.cli.tables import ALL, CORRUPTION, RUNS
from pipeline.evaluation.results import format_summary, summarize
from pipeline.files import write_atomically
from pipeline.tables.build import table_beside_literature, table_of_runs
from pipeline.tables.compare import table_of_differences
from pipeline.tables.corruption import table_of_corruptions
from pipeline.tables.formats import FORMATS
from pipeline.tables.layouts import LAYOUTS
from pipeline.tables.read import read_results
from pipeline.tables.table import Table
from pipeline.text import nearest


def tabulate(options: argparse.Namespace) -> None:
    """Reads the results of `options.runs`, and prints or writes what `pipeline.cli.tables` describes."""
    check_layout(options.layout)
    rows, folders = read_results([*options.runs, *([options.compare] if options.compare else [])])
    for name in ("code_version", "train_code_version"):
        if options.across_versions and name in rows:
            rows[name] = " and ".join(rows[name].unique())
    means = summarize(rows)
    if options.layout == RUNS and options.format == "text" and options.out is None and not options.compare:
        print(format_summary(means))
        return
    tables = build_tables(options.layout, means, folders)
    if options.compare:
        tables.append(table_of_differences(rows, folders, options.compare))
    write(tables, options.format, options.out)


def check_layout(name: str) -> None:
    """Raises ValueError where there is no such layout, with the nearest name."""
    known = [RUNS, CORRUPTION, *LAYOUTS, ALL]
    if name not in known:
        raise ValueError(f"--layout: expected one of {', '.join(known)}; found {name!r}{nearest(name, known)}")


def build_tables(layout: str, means: pd.DataFrame, folders: dict[str, Path]) -> list[Table]:
    """Returns one table, or with `all` the runs by themselves and every layout that they have rows for."""
    if layout == RUNS:
        return [table_of_runs(means)]
    if layout != ALL:
        return [built(layout, means, folders)]
    tables = [table_of_runs(means)]
    for name in (CORRUPTION, *LAYOUTS):
        try:
            tables.append(built(name, means, folders))
        except ValueError as reason:
            print(f"{name} is left out: {str(reason).partition(': ')[2]}")
    return tables


def built(layout: str, means: pd.DataFrame, folders: dict[str, Path]) -> Table:
    """Returns the table of a layout. Raises ValueError where the means have nothing that it shows."""
    return table_of_corruptions(means) if layout == CORRUPTION else table_beside_literature(layout, means, folders)


def write(tables: list[Table], form: str, folder: Path | None) -> None:
    """Prints the tables, or writes a file for each and prints where. CSV has no place for notes: they are printed."""
    to_form, suffix = FORMATS[form]
    for table in tables:
        if form == "csv":
            print(*table.notes, sep="\n", file=sys.stderr)
        if folder is None:
            print(to_form(table))
            continue
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{table.name}.{suffix}"
        write_atomically(path, to_form(table))
        print(path)
