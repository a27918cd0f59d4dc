"""A user's own data: `{visible,infrared}/<identity>/<any name>.{jpg,jpeg,png,bmp}`.

The camera is the `c<k>_` an image's name starts with, else 0. A person's folder has the same name in both modalities.
Its identity is the number it ends in, where all names are one prefix and a number (`7`, `0007`, `k007`), else its
place (from 1) among the sorted names. The index has one more column than those of the other data sets: `name`, the
name of the person's folder.
"""

from __future__ import annotations

import csv
import io
import os
import re
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.batch import Modality
from pipeline.datasets.listing import (
    SPLITS,
    Record,
    build_index,
    list_folders,
    list_images,
    read_text,
    require_folders,
    require_root,
)

FOLDERS = {"visible": Modality.VISIBLE, "infrared": Modality.INFRARED}
PREFIX_AND_NUMBER = re.compile(r"(.*?)(\d+)", re.ASCII)
CAMERA_PREFIX = re.compile(r"c(\d+)_", re.ASCII)


def read_index(
    root: str | Path, test_fraction: float = 0.5, seed: int = 0, split_file: str | Path | None = None
) -> pd.DataFrame:
    """The index of a user's folders (columns: `listing.build_index`, and `name`).

    Identities are divided into train and test by `seed` and `test_fraction` (0-1), or as the CSV `split_file` with the
    columns identity (the folder's name) and split (train, val or test) says. Identities recorded in one modality only,
    and those the CSV doesn't name, are left out with a warning: neither training nor testing can use the former.
    """
    root = require_root(root, "a data set of the layout {visible,infrared}/<identity>/<image>")
    require_folders(root, FOLDERS, "the layout {visible,infrared}/<identity>/<image>")
    images = {folder: read_modality(root / folder) for folder in FOLDERS}
    identity_of = number_names(sorted(images["visible"].keys() | images["infrared"].keys()), root)
    both = [name for name in identity_of if all(name in images[folder] for folder in FOLDERS)]
    warn_left_out([name for name in identity_of if name not in both], root, "have images of one modality only")
    if not both:
        raise ValueError(f"{root}: expected identities with a folder of images in visible and infrared; found none")
    if split_file is None:
        split_of = draw_splits(both, test_fraction, seed)
    else:
        split_of = read_split_file(Path(split_file), set(identity_of))
        warn_left_out([name for name in both if name not in split_of], root, f"are not in {split_file}")
    records = [
        Record(path, identity_of[name], camera_in_name(path), int(modality), split_of[name])
        for folder, modality in FOLDERS.items()
        for name in both
        if name in split_of
        for path in images[folder][name]
    ]
    index = build_index(records, root)
    return index.assign(name=[os.path.basename(os.path.dirname(path)) for path in index["path"]])


def read_modality(folder: Path) -> dict[str, list[str]]:
    """Name of a person's folder -> its images' paths; folders without images are as if they weren't there."""
    listed = {name: list_images(folder / name) for name in list_folders(folder)}
    return {name: [os.path.join(folder, name, image) for image in images] for name, images in listed.items() if images}


def number_names(names: list[str], root: Path) -> dict[str, int]:
    """Name of a person's folder -> identity, as the module says; ValueError for names of one number (`1`, `01`)."""
    parts = [PREFIX_AND_NUMBER.fullmatch(name) for name in names]
    if not all(parts) or len({part[1] for part in parts}) > 1:
        return {name: place for place, name in enumerate(names, 1)}
    owners: defaultdict[int, list[str]] = defaultdict(list)
    for name, part in zip(names, parts, strict=True):
        owners[int(part[2])].append(name)
    twins = next((owner for owner in owners.values() if len(owner) > 1), None)
    if twins:
        raise ValueError(f"{root}: folders {' and '.join(twins)} have the same number; give a person one name")
    return {names[0]: number for number, names in owners.items()}


def camera_in_name(path: str) -> int:
    found = CAMERA_PREFIX.match(os.path.basename(path))
    return int(found[1]) if found else 0


def draw_splits(names: list[str], test_fraction: float, seed: int) -> dict[str, str]:
    """Name -> train or test: a pure function of its arguments (NumPy's Philox, the same on every machine).

    round(number * `test_fraction`) names are tested; unless the fraction is 0 or 1, train and test get at least one.
    """
    if not 0 <= test_fraction <= 1:
        raise ValueError(f"data.test_fraction: expected a number from 0 to 1; found {test_fraction}")
    count = round(len(names) * test_fraction)
    if 0 < test_fraction < 1:
        if len(names) < 2:
            raise ValueError(f"expected 2 identities or more to divide into train and test; found {len(names)}")
        count = min(max(count, 1), len(names) - 1)
    # Raw draws rather than Generator.permutation, whose algorithm a version of NumPy may change.
    draws = np.random.Philox(key=seed).random_raw(len(names))
    tested = set(np.argsort(draws, kind="stable")[:count].tolist())
    return {name: "test" if place in tested else "train" for place, name in enumerate(names)}


def read_split_file(file: Path, known: set[str]) -> dict[str, str]:
    """Name -> split from a CSV with the columns identity and split; ValueError names the line, or a name not there."""
    reader = csv.DictReader(io.StringIO(read_text(file)))
    if not {"identity", "split"} <= set(reader.fieldnames or []):
        raise ValueError(f"{file}:1: expected the columns identity,split; found {','.join(reader.fieldnames or [])!r}")
    split_of: dict[str, str] = {}
    for row in reader:
        name, split = (row["identity"] or "").strip(), (row["split"] or "").strip()
        if not name or split not in SPLITS:
            found = f"{name},{split}"
            raise ValueError(f"{file}:{reader.line_num}: expected an identity and train, val or test; found {found!r}")
        if split_of.setdefault(name, split) != split:
            raise ValueError(f"{file}:{reader.line_num}: {name} is {split} here and {split_of[name]} above")
    missing = [name for name in split_of if name not in known]
    if missing:
        raise ValueError(f"{file}: {len(missing)} identities have no folder of images; the first is {missing[0]!r}")
    return split_of


def warn_left_out(names: list[str], root: Path, reason: str) -> None:
    if names:
        warnings.warn(f"{root}: {len(names)} identities {reason} and are left out; first: {names[0]}", stacklevel=3)
