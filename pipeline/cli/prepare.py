"""The options of `prepare`."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.cli.parser import CommandParser, add_data_set, data_set_overrides
from pipeline.config import is_override

EXAMPLES = (
    "configs/sysu.yaml data.root=/data/SYSU-MM01 --pack /scratch/sysu",
    "--dataset folder --root /data/our-cameras --strict --json report.json",
    "configs/regdb.yaml data.root=/data/RegDB --pack /scratch/regdb --resized",
)


def read_options(argv: list[str]) -> argparse.Namespace:
    """Returns the options; `asked` says whether a configuration file is among the `arguments`, to train with."""
    parser = CommandParser("prepare", "Checks a data set before training, and packs it.", EXAMPLES)
    parser.add_argument("arguments", nargs="*", metavar="CONFIG|key=value", help="as for training")
    add_data_set(parser)
    parser.add_argument("--pack", type=Path, metavar="DIR", help="pack a usable data set into this folder")
    parser.add_argument("--resized", action="store_true", help="pack pixels in the size augment.height x augment.width")
    parser.add_argument("--strict", action="store_true", help="take warnings for errors")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the table and the problems there")
    options = parser.read(argv)
    options.asked = not all(is_override(argument) for argument in options.arguments)
    if options.resized and not options.pack:
        raise ValueError("--resized: expected --pack DIR with it; found none")
    if not (options.asked or options.root or any(argument.startswith("data.root=") for argument in options.arguments)):
        raise ValueError("expected --root DIR, data.root=DIR or a configuration file that names the data set's folder")
    options.arguments += data_set_overrides(options)
    return options
