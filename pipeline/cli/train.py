"""The options of `train`."""

from __future__ import annotations

import argparse

from pipeline.cli.parser import CONFIGS, CommandParser

SUMMARY = """Trains a network on a data set, and evaluates it. The same command resumes what was stopped.

In one process; in several: accelerate launch --multi_gpu --num_processes 4 -m pipeline.train ..."""
EXAMPLES = (
    "configs/demo.yaml train.epochs=2",
    "configs/sysu.yaml data.root=/data/SYSU-MM01 seed=1",
    "configs/sysu.yaml configs/ablation/b2.yaml data.root=/data/SYSU-MM01",
)


def read_options(argv: list[str]) -> argparse.Namespace:
    """Returns `arguments`: configuration files and overrides."""
    parser = CommandParser("train", SUMMARY, EXAMPLES)
    parser.add_argument("arguments", nargs="*", metavar="CONFIG|key=value", help=CONFIGS)
    return parser.read(argv)
