"""Helpers of all data sets' readers: listing folders, reading split files, building the index."""

from __future__ import annotations

import os
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy.io import loadmat

SPLITS = ("train", "val", "test")
HELD_OUT: Literal["validation"] = "validation"  # of training identities held out of the training (`datasets.held_out`)
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")


class Record(NamedTuple):
    """One row of the index: an image of one modality."""

    path: str
    identity: int
    camera: int
    modality: int
    split: str


def build_index(records: Sequence[Record], root: Path) -> pd.DataFrame:
    """Records -> the index, sorted by split (train, val, test, validation), modality, identity, camera and path.

    Columns: path (str, absolute), identity, camera (0: unknown), modality (int64 each) and split (str); the row labels
    are 0 .. rows - 1. ValueError where there is no image, one is there twice, or has a name that isn't UTF-8.
    """
    if not records:
        raise ValueError(f"{root}: expected images ({', '.join(IMAGE_SUFFIXES)}) of listed identities; found none")
    for record in records:
        if not record.path.isascii() and "\udc80" <= max(record.path) <= "\udcff":  # bytes that Python could not decode
            raise ValueError(f"{record.path!r}: expected a name in UTF-8; rename the file or folder")
    order = {split: place for place, split in enumerate((*SPLITS, HELD_OUT))}
    ordered = sorted(records, key=lambda r: (order[r.split], r.modality, r.identity, r.camera, r.path))
    index = pd.DataFrame(ordered, columns=list(Record._fields))
    twice = index["path"].duplicated()
    if twice.any():
        raise ValueError(f"{root}: {twice.sum()} images are listed twice; the first is {index['path'][twice].iloc[0]}")
    return index.astype({"identity": "int64", "camera": "int64", "modality": "int64"})


def resolve_root(root: str | Path, name: str) -> Path:
    """Returns the absolute path of a data set's folder; FileNotFoundError where it isn't one."""
    folder = Path(os.path.abspath(os.path.expanduser(root)))
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; expected the root of {name} (data.root)")
    return folder


def check_folders(root: Path, names: Iterable[str], name: str) -> None:
    """Raises FileNotFoundError naming those of `names` that aren't folders in `root`, and the folders that are."""
    expected = list(names)
    missing = [folder for folder in expected if not (root / folder).is_dir()]
    if missing:
        found = ", ".join(list_folders(root)[:12]) or "none"
        raise FileNotFoundError(
            f"{root}: {name} has folders {', '.join(missing)}, missing here; found folders: {found}"
        )


def list_folders(folder: Path) -> list[str]:
    """Returns the sorted names of the folders in `folder`, without hidden ones."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def list_images(folder: str | Path) -> list[str]:
    """Returns the sorted names of the images in `folder`, without hidden ones (a Mac's copies hold `._0001.jpg`)."""
    return sorted(
        name for name in os.listdir(folder) if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")
    )


def read_text(file: Path) -> str:
    """Returns the text of a split file; FileNotFoundError or ValueError where there is none."""
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; it belongs to the data set, copy it there")
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{file}:{line}: expected a text file; found bytes that are not UTF-8") from None


def read_identities(file: Path) -> list[int]:
    """Identities of a file of comma-separated numbers, in the file's order."""
    identities: list[int] = []
    for number, line in enumerate(read_text(file).splitlines(), 1):
        for field in line.replace(",", " ").split():
            if not field.isdecimal():
                raise ValueError(f"{file}:{number}: expected comma-separated identities; found {field!r}")
            identities.append(int(field))
    return check_distinct(identities, file)


def check_distinct(identities: list[int], file: Path) -> list[int]:
    """Returns `identities` unchanged; ValueError where there are none, or one is there twice."""
    if not identities:
        raise ValueError(f"{file}: expected identities; found none")
    twice = sorted({identity for identity in identities if identities.count(identity) > 1})
    if twice:
        raise ValueError(f"{file}: identity {twice[0]} is listed twice")
    return identities


def read_matlab(file: Path, variable: str) -> np.ndarray:
    """Returns a variable of a MATLAB file; ValueError where the file is something else or doesn't have it."""
    try:
        return np.asarray(loadmat(file)[variable])
    except Exception as error:  # SciPy raises a dozen kinds for files that aren't MATLAB's.
        raise ValueError(f"{file}: expected a MATLAB file with {variable}; found none ({error})") from None


def read_image_list(file: Path) -> list[tuple[str, int]]:
    """Returns (path relative to the root, label) of each line `path label`; empty lines are skipped."""
    entries = []
    for number, line in enumerate(read_text(file).splitlines(), 1):
        if not line.strip():
            continue
        fields = line.rsplit(maxsplit=1)
        if len(fields) != 2 or not fields[1].isdecimal():
            raise ValueError(f"{file}:{number}: expected `path label` with a whole number as label; found {line!r}")
        entries.append((fields[0].strip(), int(fields[1])))
    if not entries:
        raise ValueError(f"{file}: expected lines `path label`; found none")
    return entries


def check_images_exist(root: Path, entries: Sequence[tuple[str, int]], file: Path) -> None:
    """Raises FileNotFoundError with the number of listed images that are missing, and the first.

    Lists each folder once.
    """
    names: dict[str, set[str]] = {}
    missing = []
    for path, _ in entries:
        folder, name = os.path.split(os.path.join(root, path))
        if folder not in names:
            names[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        if name not in names[folder]:
            missing.append(path)
    if missing:
        raise FileNotFoundError(
            f"{root}: {len(missing)} of the {len(entries)} images listed in {file} are not there; the first is"
            f" {missing[0]}; unpack the data set again or correct the list"
        )


def number_labels(entries: Sequence[tuple[str, int]], file: Path) -> dict[int, int] | None:
    """Returns label of a split -> number of the folder its images are in.

    Labels start again in every split, so they can't be identities; these numbers can. None where folders have no
    numbers, and, with a warning, where a label stands for two folders or a folder for two labels.
    """
    folders: defaultdict[int, set[str]] = defaultdict(set)
    for path, label in entries:
        folders[label].add(os.path.basename(os.path.dirname(path)))
    if not all(name.isdecimal() for names in folders.values() for name in names):
        return None
    numbers = {label: sorted({int(name) for name in names}) for label, names in folders.items()}
    ambiguous = next((label for label, found in sorted(numbers.items()) if len(found) > 1), None)
    if ambiguous is None and len({found[0] for found in numbers.values()}) == len(numbers):
        return {label: found[0] for label, found in numbers.items()}
    if ambiguous is None:
        problem = "two labels for one folder"
    else:
        problem = f"label {ambiguous} for folders {numbers[ambiguous][:3]}"
    warnings.warn(
        f"{file}: expected one folder for each label; found {problem}; identities are taken from the labels",
        stacklevel=3,
    )
    return None


def check_disjoint(train: Iterable[int], test: Iterable[int], root: Path) -> None:
    """Raises ValueError where an identity is both trained on and tested on."""
    shared = sorted(set(train) & set(test))
    if shared:
        raise ValueError(f"{root}: {len(shared)} identities are in train and in test; the first is {shared[0]}")
