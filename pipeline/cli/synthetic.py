"""The options of `synthetic`."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.cli.parser import CommandParser
from pipeline.synthetic.sizes import SCALABLE, USUAL_IDENTITIES, USUAL_IMAGES

EXAMPLES = (
    "--layout sysu --root data/demo --identities 150",
    "--layout regdb --root data/regdb --scale 0.1",
    "--layout sysu --root data/shaped --shape shape.csv --workers 4",
)


def read_options(argv: list[str]) -> argparse.Namespace:
    """Returns the arguments of `pipeline.synthetic.generation.generate`."""
    summary = "Generates a data set of synthetic people in the folder layout of a published one."
    parser = CommandParser("synthetic", summary, EXAMPLES)
    parser.add_argument("--layout", required=True, choices=list(USUAL_IMAGES), help="folder layout to write")
    parser.add_argument("--root", required=True, type=Path, help="folder to write to: new, empty or generated")
    parser.add_argument("--identities", type=int, metavar="N", help=f"identities (default: {USUAL_IDENTITIES})")
    usual = ", ".join(f"{layout} {images}" for layout, images in USUAL_IMAGES.items())
    parser.add_argument("--images-per-camera", type=int, metavar="N", help=f"of each identity (default: {usual})")
    share = f"instead: this share of the published identities, 0 to 1 ({', '.join(SCALABLE)})"
    parser.add_argument("--scale", type=float, metavar="S", help=share)
    columns = "instead: identities and images as in this CSV file of id,split,cam1..cam6 (sysu)"
    parser.add_argument("--shape", type=Path, metavar="FILE", help=columns)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed, other people (default: 0)")
    parser.add_argument("--workers", type=int, metavar="W", help="processes (default: one a processor)")
    parser.add_argument("--force", action="store_true", help="replace a generated set that has other settings")
    return parser.read(argv)
