"""`python -m pipeline.tables RUN...`: the means of runs below each other, or in the layouts of the paper's tables.

A row is the mean over the trials of runs that differ in the seed alone (RegDB: in the trial). Rows of another
protocol, test set, option, training data or version of the code are rows of their own, and what differs is said below
the table.
`--compare RUN` adds the differences from a run, each with an interval (see `pipeline.tables.compare`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from pipeline.cli.errors import one_line_errors
from pipeline.evaluation.results import format_summary, summarise
from pipeline.files import write_atomically
from pipeline.tables.build import table_beside_literature, table_of_runs
from pipeline.tables.compare import table_of_differences
from pipeline.tables.formats import FORMATS
from pipeline.tables.layouts import LAYOUTS
from pipeline.tables.read import read_results
from pipeline.tables.table import Table

RUNS, ALL = "runs", "all"


def build_tables(layout: str, means: pd.DataFrame, folders: dict[str, Path]) -> list[Table]:
    """One table, or with `all` the runs by themselves and every layout that the runs have rows for."""
    if layout == RUNS:
        return [table_of_runs(means)]
    if layout != ALL:
        return [table_beside_literature(layout, means, folders)]
    tables = [table_of_runs(means)]
    for name in LAYOUTS:
        try:
            tables.append(table_beside_literature(name, means, folders))
        except ValueError as reason:
            print(f"{name} is left out: {str(reason).partition(': ')[2]}")
    return tables


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


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.tables", description="Means of the results of runs, also beside the literature's."
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run folder, e.g. runs/demo")
    parser.add_argument("--layout", choices=[RUNS, *LAYOUTS, ALL], default=RUNS, help="runs: all metrics of our runs")
    parser.add_argument("--format", choices=list(FORMATS), default="text")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write a file for each table instead of printing it")
    parser.add_argument("--across-versions", action="store_true", help="average also over versions of the code")
    parser.add_argument("--compare", type=Path, metavar="RUN", help="add the differences from this run, with intervals")
    options = parser.parse_args(argv)
    if options.compare and not (options.compare / "results.csv").is_file():
        raise ValueError(f"--compare: {options.compare}: no results.csv to compare with")
    rows, folders = read_results([*options.runs, *([options.compare] if options.compare else [])])
    for name in ("code_version", "train_code_version"):
        if options.across_versions and name in rows:
            rows[name] = " and ".join(rows[name].unique())
    means = summarise(rows)
    if options.layout == RUNS and options.format == "text" and options.out is None and not options.compare:
        print(format_summary(means))
        return
    tables = build_tables(options.layout, means, folders)
    if options.compare:
        tables.append(table_of_differences(rows, folders, options.compare))
    write(tables, options.format, options.out)


if __name__ == "__main__":
    main()
