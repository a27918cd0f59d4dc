"""A user's own data: `{visible,infrared}/<identity>/<any name>.{jpg,jpeg,png,bmp}`, or what a `manifest.csv` lists.

The camera is the manifest's, else the `c<k>_` an image's name starts with, else 0. A person's folder has the same name
in both modalities. Its identity is the number it ends in, where all names are one prefix and a number (`7`, `0007`,
`k007`), else its place (from 1) among the sorted names. The index has one more column than those of the other data
sets: `name`, the name of the person's folder or of the manifest.

Protocol: all test images of one modality against all of the other.
"""

from __future__ import annotations

import os
import re
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.datasets.dataset import DataSet
from pipeline.datasets.listing import (
    Record,
    build_index,
    check_folders,
    list_folders,
    list_images,
    resolve_root,
)
from pipeline.datasets.manifest import MANIFEST, MODALITIES, Entry, identity_name, read_manifest, read_splits
from pipeline.protocols.all_against_all import all_against_all

PREFIX_AND_NUMBER = re.compile(r"(.*?)(\d{1,18})", re.ASCII)  # longer numbers don't fit the index
TITLE = "a data set of the layout {visible,infrared}/<identity>/<image>"
CAMERA_PREFIX = re.compile(r"c(\d{1,9})_", re.ASCII)


def read_index(
    root: str | Path, test_fraction: float = 0.5, seed: int = 0, split_file: str | Path | None = None
) -> pd.DataFrame:
    """Returns the index of a user's folders or manifest (columns: `listing.build_index`, and `name`).

    Identities are divided into train, val, test and validation as the CSV `split_file` with the columns identity (the
    name) and split says; without it by the manifest's column split; without that by `seed` and `test_fraction` (0-1).
    Identities captured in one modality only, and those the CSV doesn't name, are left out with a warning: neither
    training nor testing can use the former. Raises ValueError or FileNotFoundError, one line, for what isn't as the
    module says.
    """
    root = resolve_root(root, TITLE)
    if (root / MANIFEST).is_file():
        entries = read_manifest(root, with_splits=split_file is None)
    else:
        entries = read_folders(root)
    names = names_of_both_modalities(entries, root)
    if split_file is not None:
        split_of = read_split_file(Path(split_file), {entry.name for entry in entries})
        warn_left_out([name for name in names if name not in split_of], root, f"are not in {split_file}")
    else:
        listed = {entry.name: entry.split for entry in entries if entry.split}
        split_of = listed or sample_splits(names, test_fraction, seed)
    return index_entries(entries, {name: split_of[name] for name in names if name in split_of}, root)


def read_folders(root: Path) -> list[Entry]:
    """Returns the images of the two folders; a person's folder without images is as if it weren't there."""
    check_folders(root, MODALITIES, f"a user's data set without a {MANIFEST}")
    return [
        Entry(os.path.join(root, folder, name, image), identity_name(name), modality)
        for folder, modality in MODALITIES.items()
        for name in list_folders(root / folder)
        for image in list_images(root / folder / name)
    ]


def names_of_both_modalities(entries: list[Entry], root: Path) -> list[str]:
    """Returns them sorted; ValueError where there are none, or two names have one number. Warns of the others."""
    names = sorted({entry.name for entry in entries})
    check_numbers_distinct(names, root)
    captured = {(entry.name, entry.modality) for entry in entries}
    both = [name for name in names if all((name, modality) in captured for modality in MODALITIES.values())]
    warn_left_out(sorted(set(names) - set(both)), root, "have images of one modality only")
    if not both:
        raise ValueError(f"{root}: expected identities with images in {' and '.join(MODALITIES)}; found none")
    return both


def index_entries(entries: list[Entry], split_of: dict[str, str], root: Path) -> pd.DataFrame:
    """Returns the index of the entries whose names are in `split_of`.

    Only these are numbered: those left out then change nothing of a training with the same split.
    """
    identity_of = number_names(sorted(split_of))
    records = [
        Record(
            entry.path,
            identity_of[entry.name],
            camera_in_name(entry.path) if entry.camera is None else entry.camera,
            int(entry.modality),
            split_of[entry.name],
        )
        for entry in entries
        if entry.name in split_of
    ]
    index = build_index(records, root)
    return index.assign(name=index["identity"].map({number: name for name, number in identity_of.items()}))


def numbers_in(names: list[str]) -> list[int] | None:
    """Returns the number each name ends in; None unless all names are one prefix and a number."""
    parts = [part for name in names if (part := PREFIX_AND_NUMBER.fullmatch(name))]
    if len(parts) < len(names) or len({part[1] for part in parts}) > 1:
        return None
    return [int(part[2]) for part in parts]


def number_names(names: list[str]) -> dict[str, int]:
    """Returns name of a person -> identity, as the module says."""
    return dict(zip(names, numbers_in(names) or range(1, len(names) + 1), strict=True))


def check_numbers_distinct(names: list[str], root: Path) -> None:
    """Raises ValueError where names have one number (`1`, `01`): most likely an identity written in two ways."""
    owners: defaultdict[int, list[str]] = defaultdict(list)
    for name, number in zip(names, numbers_in(names) or range(len(names)), strict=True):
        owners[number].append(name)
    twins = next((owner for owner in owners.values() if len(owner) > 1), None)
    if twins:
        raise ValueError(f"{root}: identities {' and '.join(twins)} have the same number; give a person one name")


def camera_in_name(path: str) -> int:
    found = CAMERA_PREFIX.match(os.path.basename(path))
    return int(found[1]) if found else 0


def sample_splits(names: list[str], test_fraction: float, seed: int) -> dict[str, str]:
    """Returns name -> train or test: a pure function of its arguments (NumPy's Philox, the same on every machine).

    round(number * `test_fraction`) names are tested; unless the fraction is 0 or 1, train and test get at least one.
    """
    if not 0 <= test_fraction <= 1:
        raise ValueError(f"data.test_fraction: expected a number from 0 to 1; found {test_fraction}")
    count = round(len(names) * test_fraction)
    if 0 < test_fraction < 1:
        if len(names) < 2:
            raise ValueError(f"expected 2 identities or more to divide into train and test; found {len(names)}")
        count = min(max(count, 1), len(names) - 1)
    # Raw numbers rather than Generator.permutation, whose algorithm a version of NumPy may change.
    numbers = np.random.Philox(key=seed).random_raw(len(names))
    tested = set(np.argsort(numbers, kind="stable")[:count].tolist())
    return {name: "test" if place in tested else "train" for place, name in enumerate(names)}


def read_split_file(file: Path, known: set[str]) -> dict[str, str]:
    """Reads as `read_splits` does; ValueError also for a name that isn't `known`."""
    split_of = read_splits(file)
    missing = [name for name in split_of if name not in known]
    if missing:
        raise ValueError(f"{file}: {len(missing)} identities have no images; the first is {missing[0]!r}")
    return split_of


def warn_left_out(names: list[str], root: Path, reason: str) -> None:
    if names:
        warnings.warn(f"{root}: {len(names)} identities {reason} and are left out; first: {names[0]}", stacklevel=3)


FOLDER = DataSet(
    name="folder",
    title=TITLE,
    read_folder=lambda root, data: read_index(root, data.test_fraction, data.split_seed, data.split_file),
    trials=lambda index, data, evaluation: all_against_all(index, evaluation.directions, data.test_split),
    split_keys=("test_fraction", "split_seed", "split_file"),
)
