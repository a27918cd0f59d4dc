"""The command `config`: every setting with its value and meaning."""

from __future__ import annotations

import argparse
import json
import sys

from pipeline.cli.parser import CONFIGS, CommandParser
from pipeline.config import describe, load_config
from pipeline.errors import one_line_errors

EXAMPLES = ("", "configs/sysu.yaml configs/ablation/b2.yaml", "configs/demo.yaml optimizer.lr=0.01")


def read_options(argv: list[str]) -> argparse.Namespace:
    """Returns `arguments`: configuration files and overrides."""
    parser = CommandParser("config", "Prints every setting with its value and meaning.", EXAMPLES)
    parser.add_argument("arguments", nargs="*", metavar="CONFIG|key=value", help=CONFIGS)
    return parser.read(argv)


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    options = read_options(sys.argv[1:] if argv is None else argv)
    for name, value, meaning in describe(load_config(options.arguments)):
        print(f"{name}: {json.dumps(value)}".ljust(48) + f" # {meaning}")
