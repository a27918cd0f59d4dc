"""The options of `figures`: the name of one, and its own options."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from pipeline.cli.parser import CommandParser, add_checkpoint
from pipeline.text import nearest

SUMMARY = """Shows data sets, training batches, and what a trained network makes of test images. FIGURE is one of

batch CONFIG... [key=value ...] --out FILE.png      the first training batch in its modalities
derivations CONFIG... [key=value ...] --out DIR     every derivation on the same two people
dataset CONFIG... [key=value ...] --out FILE.png    the data set as it is on disk: identities by cameras
ranking RUN... [key=value ...] [--out DIR]          a run: ranked lists, CMC, distances, t-SNE, activation maps

FIGURE --help lists the options of each."""
EXAMPLES = (
    "batch configs/demo.yaml --out batch.png",
    "dataset configs/sysu.yaml data.root=/data/SYSU-MM01 --out sysu.png",
    "ranking runs/sysu runs/sysu-b2 --only cmc --out compared",
)
RANKINGS = ("ranked_lists", "cmc", "distances", "t_sne", "attention")


def read_options(argv: list[str]) -> tuple[str, argparse.Namespace]:
    """Returns the name of the figure, and its options."""
    if argv[:1] in (["-h"], ["--help"]):
        parser = CommandParser("figures", SUMMARY, EXAMPLES)
        parser.add_argument("figure", metavar="FIGURE", choices=list(READERS), help="and its options")
        parser.read(argv)
    name = argv[0] if argv else "nothing"
    if name not in READERS:
        raise ValueError(f"figure: expected one of {', '.join(READERS)}; found {name!r}{nearest(name, READERS)}")
    return name, READERS[name](argv[1:])


def read_batch(argv: list[str]) -> argparse.Namespace:
    examples = (
        "configs/demo.yaml",
        "configs/demo.yaml --columns 6",
        "configs/sysu.yaml derive.visible=gray --out a.png",
    )
    parser = CommandParser("figures batch", "Shows the first training batch in its modalities.", examples)
    parser.add_argument("arguments", nargs="+", metavar="CONFIG|key=value", help="as for training")
    parser.add_argument("--out", type=Path, default=Path("batch.png"), help="PNG file to write (default: batch.png)")
    parser.add_argument("--columns", type=int, default=12, help="images of a modality (default: 12)")
    return parser.read(argv)


def read_derivations(argv: list[str]) -> argparse.Namespace:
    examples = ("configs/demo.yaml", "configs/demo.yaml --out docs", "configs/sysu.yaml data.root=/data/SYSU-MM01")
    parser = CommandParser("figures derivations", "Shows every derivation on two people, as a page.", examples)
    parser.add_argument("arguments", nargs="+", metavar="CONFIG|key=value", help="as for training")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder of derivations.md and derivations.png")
    return parser.read(argv)


def read_dataset(argv: list[str]) -> argparse.Namespace:
    examples = (
        "configs/demo.yaml",
        "configs/sysu.yaml data.root=/data/SYSU-MM01 --out sysu.png",
        "configs/folder.yaml data.root=/data/our-cameras --identities 20 --images 2",
    )
    parser = CommandParser("figures dataset", "Shows a data set as it is on disk: identities by cameras.", examples)
    parser.add_argument(
        "arguments", nargs="+", metavar="CONFIG|key=value", help="as for training; data.root may be packed"
    )
    parser.add_argument("--out", type=Path, default=Path("dataset.png"), help="PNG to write (default: dataset.png)")
    parser.add_argument("--identities", type=int, default=8, help="rows (default: 8)")
    parser.add_argument("--images", type=int, default=3, help="images of an identity by a camera (default: 3)")
    return parser.read(argv)


def read_ranking(argv: list[str]) -> argparse.Namespace:
    examples = (
        "runs/demo",
        "runs/demo --only ranked_lists --queries 8",
        "runs/sysu runs/sysu-b2 --only cmc --out both",
    )
    parser = CommandParser("figures ranking", "Shows what a trained run makes of test images: PNG and PDF.", examples)
    parser.add_argument("arguments", nargs="+", metavar="RUN|key=value", help="run folders; keys as for evaluation")
    parser.add_argument("--out", type=Path, help="folder to write to (default: figures/ in the first RUN)")
    names = f"some of {', '.join(RANKINGS)}"
    parser.add_argument("--only", default=",".join(RANKINGS), metavar="FIGURE,...", help=names)
    parser.add_argument("--queries", type=int, default=5, help="rows of a sheet of ranked lists (default: 5)")
    parser.add_argument("--identities", type=int, default=10, help="identities in the t-SNE plot (default: 10)")
    add_checkpoint(parser)
    parser.add_argument("--seed", type=int, default=0, help="of random choices, 0 or more (default: 0)")
    return parser.read(argv)


READERS: dict[str, Callable[[list[str]], argparse.Namespace]] = {
    "batch": read_batch,
    "derivations": read_derivations,
    "dataset": read_dataset,
    "ranking": read_ranking,
}
