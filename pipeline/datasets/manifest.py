"""The CSV files a user writes of a data set: `manifest.csv` in its folder, which then defines it, and split files.

A manifest has the columns path, identity and modality; camera and split where they are known; others are ignored. A
path is relative to the folder, with forward or Windows' slashes, or absolute. A split file has identity and split.
"""

from __future__ import annotations

import csv
import io
import os
import re
import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from pipeline.batch import Modality
from pipeline.datasets.listing import HELD_OUT, IMAGE_SUFFIXES, SPLITS, check_images_exist, read_text
from pipeline.files import replace_atomically

MANIFEST = "manifest.csv"
COLUMNS = ("path", "identity", "modality")
MODALITIES = {"visible": Modality.VISIBLE, "infrared": Modality.INFRARED}
CAMERA = re.compile(r"\d{1,9}", re.ASCII)


class Entry(NamedTuple):
    """An image of a user's data set.

    path (absolute), name (`identity_name` of the person), modality; camera: None where only the file's name may say
    it; split: None where nothing says it, "" where the manifest's column is blank.
    """

    path: str
    name: str
    modality: Modality
    camera: int | None = None
    split: str | None = None


def read_manifest(root: Path, with_splits: bool) -> list[Entry]:
    """Returns the images of `root`'s manifest; without the column split unless `with_splits`.

    Rows with a blank split are left out with a warning. Raises ValueError or FileNotFoundError, one line with the
    line's number, for everything else that isn't as the module says, and for an identity in two splits.
    """
    file = root / MANIFEST
    entries = {line: read_entry(row, root, f"{file}:{line}", with_splits) for line, row in read_csv(file, COLUMNS)}
    if not entries:
        raise ValueError(f"{file}: expected a line for each image; found none")
    check_paths_distinct(entries, file)
    check_images_exist(root, [(entry.path, line) for line, entry in entries.items()], file)
    collect_splits(((line, entry.name, entry.split) for line, entry in entries.items() if entry.split), file)
    blank = [line for line, entry in entries.items() if entry.split == ""]
    if blank:
        first = f"{entries[blank[0]].path} (line {blank[0]})"
        warnings.warn(f"{file}: {len(blank)} images have no split and are left out; first: {first}", stacklevel=3)
    return [entry for entry in entries.values() if entry.split != ""]


def read_entry(row: dict[str, str], root: Path, place: str, with_splits: bool) -> Entry:
    """Returns the entry of a row; `place` (file and line) opens the message of a ValueError."""
    path, name = row["path"].replace("\\", "/"), identity_name(row["identity"])
    camera, split = row.get("camera", ""), row.get("split") if with_splits else None
    if not path.lower().endswith(IMAGE_SUFFIXES):
        raise ValueError(f"{place}: path: expected an image ({', '.join(IMAGE_SUFFIXES)}); found {path!r}")
    if not name:
        raise ValueError(f"{place}: identity: expected a number or name; found none")
    if row["modality"] not in MODALITIES:
        raise ValueError(f"{place}: modality: expected {' or '.join(MODALITIES)}; found {row['modality']!r}")
    if camera and not CAMERA.fullmatch(camera):
        raise ValueError(f"{place}: camera: expected a whole number from 0 to 999999999, or nothing; found {camera!r}")
    if split and split not in (*SPLITS, HELD_OUT):
        raise ValueError(f"{place}: split: expected {', '.join(SPLITS)}, {HELD_OUT} or nothing; found {split!r}")
    path = os.path.normpath(os.path.join(root, path))
    return Entry(path, name, MODALITIES[row["modality"]], int(camera) if camera else None, split)


def identity_name(text: str) -> str:
    """Returns one spelling: without blanks at the ends, accents in Unicode's composed form (Macs decompose them)."""
    return unicodedata.normalize("NFC", text.strip())


def check_paths_distinct(entries: dict[int, Entry], file: Path) -> None:
    first: dict[str, int] = {}
    for line, entry in entries.items():
        other = first.setdefault(entry.path, line)
        if other != line:
            raise ValueError(f"{file}:{line}: expected each image once; {entry.path} is in line {other} too")


def read_splits(file: Path) -> dict[str, str]:
    """Returns name -> split from a CSV with the columns identity and split; ValueError names the line."""
    rows = []
    for line, row in read_csv(file, ("identity", "split")):
        name, split = identity_name(row["identity"]), row["split"]
        if not name or split not in (*SPLITS, HELD_OUT):
            found = f"{name},{split}"
            raise ValueError(f"{file}:{line}: expected an identity and train, val, test or {HELD_OUT}; found {found!r}")
        rows.append((line, name, split))
    return collect_splits(rows, file)


def write_splits(split_of: dict[str, str], path: Path) -> None:
    """Writes the CSV that `read_splits` reads, whole or not at all."""
    table = pd.DataFrame({"identity": split_of.keys(), "split": split_of.values()}).to_csv(index=False)
    replace_atomically(path, lambda unfinished: unfinished.write_text(table, encoding="utf-8"))


def collect_splits(rows: Iterable[tuple[int, str, str]], file: Path) -> dict[str, str]:
    """Returns the split of each name of (line, name, split); ValueError names the line of a name in two splits."""
    split_of: dict[str, str] = {}
    for line, name, split in rows:
        if split_of.setdefault(name, split) != split:
            raise ValueError(f"{file}:{line}: {name} is {split} here and {split_of[name]} above")
    return split_of


def read_csv(file: Path, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Returns (line number, column -> value) of each row, without blanks around values; empty rows are dropped.

    Raises ValueError naming the line where the file is something else, lacks one of `columns`, or a row is too long.
    """
    reader = csv.reader(io.StringIO(read_text(file)), strict=True)
    try:
        lines = [(reader.line_num, [value.strip() for value in values]) for values in reader]
    except csv.Error as error:
        raise ValueError(f"{file}:{reader.line_num}: expected comma-separated values; found {error}") from None
    (place, header), *rows = [(line, values) for line, values in lines if any(values)] or [(1, [])]
    if not set(columns) <= set(header):
        raise ValueError(f"{file}:{place}: expected the columns {','.join(columns)}; found {','.join(header)!r}")
    for line, values in rows:
        if any(values[len(header) :]):
            raise ValueError(
                f"{file}:{line}: expected {len(header)} values; found {len(values)}; quote those with commas in them"
            )
    return [(line, dict(zip(header, values + [""] * len(header), strict=False))) for line, values in rows]
