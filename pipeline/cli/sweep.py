"""The options of `sweep`."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.cli.parser import CommandParser

SUMMARY = "Trains the runs of a list one after the other; those that are finished are left out."
EXAMPLES = (
    "configs/sweeps/regdb.list data.root=/data/RegDB",
    "configs/sweeps/ablation_demo.list --processes 2",
    "configs/sweeps/ablation.list data.root=/data/SYSU-MM01 --tables",
)


def read_options(argv: list[str]) -> argparse.Namespace:
    """Returns the list, the arguments added to each of its lines, and the action."""
    parser = CommandParser("sweep", SUMMARY, EXAMPLES)
    parser.add_argument("list", type=Path, metavar="LIST", help="e.g. configs/sweeps/regdb.list")
    parser.add_argument("arguments", nargs="*", metavar="key=value", help="added to each line of the list")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="of each training (default: 1)")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--tables", action="store_true", help="train nothing: print progress and results")
    instead.add_argument("--unfinished", action="store_true", help="train nothing: print the numbers yet to train")
    instead.add_argument(
        "--member", type=int, metavar="K", help="train nothing: print the arguments of line K, one a line"
    )
    return parser.read(argv)
