"""The options of `tables`."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.cli.parser import CommandParser

RUNS, ALL = "runs", "all"  # the runs by themselves; and with every layout that they have rows for
CORRUPTION = "corruption"  # the images as they were captured, and every corruption of them
FORMATS = ("text", "markdown", "latex", "html", "csv")
SUMMARY = "Prints the means of the results of runs, also next to the literature's, or compares runs."
EXAMPLES = (
    "runs/sysu runs/sysu-b2",
    "runs/sysu-seed* --layout sysu --format latex --out tables",
    "runs/sysu runs/sysu-b2 --compare runs/sysu-b2",
)


def read_options(argv: list[str]) -> argparse.Namespace:
    """Returns the options. Raises ValueError where there is nothing to compare with."""
    parser = CommandParser("tables", SUMMARY, EXAMPLES)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run folder, e.g. runs/demo")
    layouts = (
        f"{RUNS} (default): all metrics; a table of the literature, e.g. sysu or ablation; {CORRUPTION}; {ALL}: "
        "every one of them"
    )
    parser.add_argument("--layout", metavar="NAME", default=RUNS, help=layouts)
    parser.add_argument("--format", choices=FORMATS, default="text", help="default: text")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write a file for each table instead of printing it")
    parser.add_argument("--across-versions", action="store_true", help="average also over versions of the code")
    parser.add_argument("--compare", type=Path, metavar="RUN", help="add the differences from this run, with intervals")
    options = parser.read(argv)
    if options.compare and not (options.compare / "results.csv").is_file():
        raise ValueError(f"--compare: {options.compare}: no results.csv to compare with")
    return options
