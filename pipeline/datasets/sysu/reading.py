"""Reads SYSU-MM01: `cam1..cam6/<identity>/<image>.jpg` and `exp/{train,val,test}_id.{txt,mat}`."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from pipeline.batch import Modality
from pipeline.datasets.listing import (
    SPLITS,
    Record,
    build_index,
    check_distinct,
    check_folders,
    list_folders,
    list_images,
    read_identities,
    read_matlab,
    resolve_root,
)

VISIBLE_CAMERAS = (1, 2, 4, 5)
INFRARED_CAMERAS = (3, 6)


def read_index(root: str | Path) -> pd.DataFrame:
    """Returns the index of SYSU-MM01 (columns: `listing.build_index`), with the splits train, val and test.

    Images of identities in none of the three are left out. One line of FileNotFoundError or ValueError for a missing
    camera folder or split file, a camera without images, an identity in two splits or without any image.
    """
    root = resolve_root(root, "SYSU-MM01")
    cameras = sorted(VISIBLE_CAMERAS + INFRARED_CAMERAS)
    check_folders(root, [*(f"cam{camera}" for camera in cameras), "exp"], "SYSU-MM01")
    split_of = read_splits(root / "exp")
    records = [record for camera in cameras for record in read_camera(root / f"cam{camera}", camera, split_of)]
    missing = sorted(set(split_of) - {record.identity for record in records})
    if missing:
        first = f"{missing[0]:04d} ({split_of[missing[0]]})"
        raise FileNotFoundError(f"{root}: {len(missing)} listed identities have no image in any camera; first: {first}")
    return build_index(records, root)


def read_splits(folder: Path) -> dict[int, str]:
    """Returns identity -> split, from `<split>_id.txt`, or `<split>_id.mat` where that is absent."""
    split_of: dict[int, str] = {}
    for split in SPLITS:
        for identity in read_split(folder, split):
            if identity in split_of:
                raise ValueError(f"{folder}: identity {identity} is in {split_of[identity]} and in {split}")
            split_of[identity] = split
    return split_of


def read_split(folder: Path, split: str) -> list[int]:
    text, matlab = folder / f"{split}_id.txt", folder / f"{split}_id.mat"
    if text.is_file():
        return read_identities(text)
    if not matlab.is_file():
        raise FileNotFoundError(f"{folder}: expected {text.name} or {matlab.name}; found neither")
    return check_distinct([int(identity) for identity in read_matlab(matlab, "id").ravel()], matlab)


def modality_of(camera: int) -> Modality:
    """Returns what a camera records."""
    return Modality.VISIBLE if camera in VISIBLE_CAMERAS else Modality.INFRARED


def read_camera(folder: Path, camera: int, split_of: dict[int, str]) -> list[Record]:
    modality, records = modality_of(camera), []
    for name in list_folders(folder):
        if not name.isdecimal() or int(name) not in split_of:
            continue
        identity, person = int(name), os.path.join(folder, name)
        records += [
            Record(os.path.join(person, image), identity, camera, int(modality), split_of[identity])
            for image in list_images(person)
        ]
    if not records:
        raise FileNotFoundError(
            f"{folder}: expected folders 0001, 0002, ... with images; found none of a listed person"
        )
    return records
