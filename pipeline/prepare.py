"""Checks a data set before training: `python -m pipeline.prepare CONFIG... [key=value ...] [--strict] [--json FILE]`.

Reads the split files and folders as training will, decodes every picture, counts, and compares with the published
numbers. Prints a table (split x modality x camera) and a line for each problem. Exit status 0: usable; 1: not.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from dali_ops.check import undecodable
from pipeline.batch import Modality
from pipeline.build import build_index, build_trials
from pipeline.config import load_config
from pipeline.datasets.published import IDENTITIES, TOTAL_IMAGES, published_images
from pipeline.datasets.synthetic import MARKER
from pipeline.entry import one_line_errors
from pipeline.files import write_atomically
from pipeline.loader import usable_cores
from pipeline.sampling import count_images
from pipeline.settings import Settings


@dataclass(frozen=True)
class Problem:
    """An error makes the data set unusable; a warning is worth a look (`--strict` takes it for an error)."""

    level: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.level}: {self.where}: {self.what}"


def check_pictures(index: pd.DataFrame, threads: int, progress: bool) -> Iterator[Problem]:
    """Decodes every picture in full."""
    with tqdm(total=len(index), unit="picture", disable=not progress, leave=False) as bar:
        for modality in (Modality.VISIBLE, Modality.INFRARED):
            paths = index["path"][index["modality"] == int(modality)].tolist()
            for path, reason in undecodable(paths, modality.key, threads=threads, advance=bar.update):
                yield Problem("error", path, f"expected a picture; found that {reason}; copy it again or remove it")


def check_identities(index: pd.DataFrame, settings: Settings) -> Iterator[Problem]:
    """Identities in two splits, and those with too few images to fill their part of a batch."""
    splits = index.groupby("identity")["split"].agg(lambda names: sorted(set(names)))
    for identity, names in splits[splits.str.len() > 1].items():
        yield Problem("error", f"identity {identity}", f"expected in one split; found in {' and '.join(names)}")
    rows = index[index["split"].isin(settings.data.train_splits)]
    for modality, of_modality in count_images(rows, settings.batch).items():
        for fewest, most, advice in (
            (0, 0, "it is left out of training"),
            (1, settings.batch.images_per_modality - 1, "images are repeated in a batch"),
        ):
            few = of_modality[of_modality.between(fewest, most)]
            if len(few):
                yield Problem(
                    "warning",
                    f"{len(few)} training identities (first: {few.index[0]})",
                    f"expected {settings.batch.images_per_modality} {modality.key} images or more; "
                    f"found {few.min()} to {few.max()}; {advice}",
                )


def check_counts(index: pd.DataFrame, settings: Settings) -> Iterator[Problem]:
    """Numbers of images and identities against the published ones; nothing for generated and own data."""
    dataset = settings.data.dataset
    if is_generated(settings):
        return
    found = index.groupby(["split", "modality", "camera"]).size()
    for (split, modality, camera), expected in published_images(dataset).items():
        count = int(found.get((split, int(modality), camera), 0))
        if count != expected:
            yield Problem("warning", f"{split}, camera {camera}", f"expected {expected} images; found {count}")
    for split, expected in IDENTITIES.get(dataset, {}).items():
        count = index["identity"][index["split"] == split].nunique()
        if count != expected:
            yield Problem("warning", split, f"expected {expected} identities; found {count}")
    total = TOTAL_IMAGES.get(dataset, len(index))
    if len(index) != total:
        yield Problem("warning", settings.data.root, f"expected {total} images; found {len(index)}")


def check_protocol(index: pd.DataFrame, settings: Settings) -> Iterator[Problem]:
    """Whether the trials of the test can be made."""
    try:
        build_trials(settings, index)
    except (ValueError, FileNotFoundError) as error:
        yield Problem("error", "evaluation", str(error))


def is_generated(settings: Settings) -> bool:
    return (Path(settings.data.root) / MARKER).exists()


def count_table(index: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """split, modality, camera, identities, images, expected (images; missing where nothing is published)."""
    groups = index.groupby(["split", "modality", "camera"])
    table = pd.DataFrame({"identities": groups["identity"].nunique(), "images": groups.size()}).reset_index()
    published = {} if is_generated(settings) else published_images(settings.data.dataset)
    keys = zip(table["split"], table["modality"], table["camera"], strict=True)
    table["expected"] = pd.array([published.get((split, Modality(m), c)) for split, m, c in keys], dtype="Int64")
    table["modality"] = [Modality(value).key for value in table["modality"]]
    order = table["split"].map({"train": 0, "val": 1, "test": 2})
    return table.iloc[np.lexsort((table["camera"], order))].reset_index(drop=True)


def format_counts(table: pd.DataFrame) -> str:
    """As text; without the expected numbers where none are published."""
    known = table["expected"].notna()
    shown = table.assign(expected=table["expected"].astype(object).where(known, "-"))
    return (shown if known.any() else shown.drop(columns="expected")).to_string(index=False)


def inspect(settings: Settings, progress: bool = False) -> tuple[pd.DataFrame, list[Problem]]:
    """The table of counts and all problems. Raises what reading the index raises: nothing can be checked then."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        index = build_index(settings.data)
        problems = [
            *check_pictures(index, settings.loader.threads or usable_cores(), progress),
            *check_identities(index, settings),
            *check_counts(index, settings),
            *check_protocol(index, settings),
        ]
    seen = dict.fromkeys(str(warning.message) for warning in caught if warning.category is UserWarning)
    return count_table(index, settings), problems + [Problem("warning", settings.data.root, text) for text in seen]


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.prepare", description="Checks a data set.")
    parser.add_argument("words", nargs="*", metavar="CONFIG|key=value", help="as for training")
    parser.add_argument("--dataset", help="short for data.dataset=...: sysu, regdb, llcm or folder")
    parser.add_argument("--root", help="short for data.root=...")
    parser.add_argument("--strict", action="store_true", help="take warnings for errors")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the table and the problems there")
    options = parser.parse_args(argv)
    named = {"data.dataset": options.dataset, "data.root": options.root}
    settings = load_config([*options.words, *(f"{key}={value}" for key, value in named.items() if value)])
    table, problems = inspect(settings, progress=sys.stderr.isatty())
    levels = [problem.level for problem in problems]
    usable = "error" not in levels and not (options.strict and levels)
    errors = levels.count("error")
    print(format_counts(table))
    print(*problems, sep="\n", end="\n" if problems else "")
    verdict = "usable" if usable else "not usable"
    print(f"{settings.data.root}: {verdict}, {errors} errors, {len(levels) - errors} warnings")
    if options.json:
        content = {"usable": usable, "counts": json.loads(table.to_json(orient="records"))}
        content["problems"] = [dataclasses.asdict(problem) for problem in problems]
        write_atomically(options.json, json.dumps(content, indent=2) + "\n")
    sys.exit(0 if usable else 1)


if __name__ == "__main__":
    main()
