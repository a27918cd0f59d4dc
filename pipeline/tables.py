"""Tables of results: `python -m pipeline.tables RUN...` prints the means of several runs below each other."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from pipeline.entry import one_line_errors
from pipeline.results import format_summary, read_rows, summarise


def read_results(folders: list[Path]) -> pd.DataFrame:
    """The rows of all runs, in the order given. ValueError naming a folder without results."""
    for folder in folders:
        if not (folder / "results.csv").is_file():
            raise ValueError(f"{folder}: no results.csv; `python -m pipeline.evaluate` makes one")
    return pd.concat([read_rows(folder / "results.csv") for folder in folders], ignore_index=True)


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.tables", description="Means of the results of runs.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run folder, e.g. runs/demo")
    print(format_summary(summarise(read_results(parser.parse_args(argv).runs))))


if __name__ == "__main__":
    main()
