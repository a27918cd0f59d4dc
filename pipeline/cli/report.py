"""The options of `report`."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.cli.parser import CommandParser, add_checkpoint

SUMMARY = "Writes one self-contained HTML page of everything that is known of some runs."
EXAMPLES = ("runs/demo", "runs/sysu --out sysu.html", "runs/sysu runs/sysu-b2 --out compared.html")


def read_options(argv: list[str]) -> argparse.Namespace:
    """Returns the run folders and the file to write."""
    parser = CommandParser("report", SUMMARY, EXAMPLES)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run folder, e.g. runs/demo")
    parser.add_argument("--out", type=Path, default=Path("report.html"), help="file to write (default: report.html)")
    add_checkpoint(parser)
    return parser.read(argv)
