"""The options of `translate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.cli.parser import CommandParser

SUMMARY = """Translates a folder of images into the other modality, by the networks of a run whose method makes images.

The folders below FOLDER and the names of the images are kept. Images are made in the size that the method was trained
on, and enlarged or reduced to that of their source."""
EXAMPLES = (
    "runs/sysu-aligngan /data/SYSU-MM01/cam1 --out pseudo-infrared",
    "runs/sysu-aligngan /data/SYSU-MM01/cam3 --modality infrared --out pseudo-visible",
    "runs/sysu-jsia people --style night/0001.png --out people-at-night --size network",
)
MODALITIES = ("visible", "infrared")


def read_options(argv: list[str]) -> argparse.Namespace:
    """Returns the run, the folders, and how images are translated."""
    parser = CommandParser("translate", SUMMARY, EXAMPLES)
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder with its checkpoints")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of images, with those below it")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--modality", choices=MODALITIES, default="visible", help="of FOLDER (default: visible)")
    parser.add_argument("--style", type=Path, metavar="IMAGE", help="of the other modality: how JSIA and Hi-CMD paint")
    size = "original: as the source; network: as made (default: original)"
    parser.add_argument("--size", choices=("original", "network"), default="original", help=size)
    parser.add_argument("--checkpoint", type=int, metavar="STEP", help="of this step (default: the newest)")
    return parser.read(argv)
