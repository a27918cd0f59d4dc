"""The options of `evaluate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.cli.parser import CommandParser, add_checkpoint, add_data_set, data_set_overrides

SUMMARY = """Evaluates a trained run, the network a configuration starts with, or precomputed features.

RUN is a run folder; evaluation.*, loader.* and data.* can be overridden."""
EXAMPLES = (
    "runs/sysu --checkpoint best evaluation.shots=[multi] evaluation.flip=true",
    "configs/demo.yaml name=untrained",
    "--features FILE.npz --dataset sysu --root /data/SYSU-MM01",
)


def read_options(argv: list[str]) -> argparse.Namespace:
    """Returns the options; `arguments` are a run folder or configuration files, and overrides."""
    parser = CommandParser("evaluate", SUMMARY, EXAMPLES)
    parser.add_argument("arguments", nargs="*", metavar="RUN|CONFIG|key=value", help="a run folder, or as for training")
    add_data_set(parser)
    add_checkpoint(parser)
    parser.add_argument("--features", type=Path, metavar="FILE", help="of these: .npz, or a folder of MATLAB files")
    parser.add_argument("--index", type=Path, metavar="CSV", help="of --features: path,identity,camera,modality,split")
    parser.add_argument("--save-features", type=Path, metavar="FILE", help=".npz; or .mat, SYSU-MM01's six files")
    options = parser.read(argv)
    options.arguments += data_set_overrides(options)
    if options.index and not options.features:
        raise ValueError("--index: lists the images of --features; without them give --root or data.root=")
    if options.features and options.checkpoint:
        raise ValueError("--checkpoint: chooses the weights of a run; --features has none")
    if options.features and options.save_features:
        raise ValueError("--save-features: writes what a network extracts; --features is such a file already")
    return options
