"""LLCM (Zhang and Wang, CVPR 2023): `idx/{train_vis,train_nir,test_id}.txt` and `test_{vis,nir}/cam<k>/<identity>/`.

The camera is the `c<k>` in the name of a training image (0 where there is none) and the folder `cam<k>` of a test
image. The identity of an image is the number of its folder. Where training folders aren't numbered it is the label in
the list, moved above the test identities.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pandas as pd

from pipeline.batch import Modality
from pipeline.datasets.listing import (
    Record,
    build_index,
    list_folders,
    list_images,
    number_labels,
    read_identities,
    read_image_list,
    refuse_missing_images,
    refuse_shared_identities,
    require_folders,
    require_root,
)

STEMS = {"vis": Modality.VISIBLE, "nir": Modality.INFRARED}
CAMERA_IN_NAME = re.compile(r"(?:^|_)c(\d+)(?:_|\.)")
CAMERA_FOLDER = re.compile(r"cam(\d+)")


def read_index(root: str | Path) -> pd.DataFrame:
    """The index of LLCM (columns: `listing.build_index`); it has train and test.

    One line of FileNotFoundError or ValueError for a missing folder, list or image, a wrong line, a test identity
    without images, or an identity that is in train and in test.
    """
    root = require_root(root, "LLCM")
    require_folders(root, ["idx", "test_vis", "test_nir"], "LLCM")
    test_identities = read_identities(root / "idx" / "test_id.txt")
    train, train_identities = read_train(root, offset=max(test_identities) + 1)
    refuse_shared_identities(train_identities, test_identities, root)
    test = [record for stem in STEMS for record in read_test(root / f"test_{stem}", STEMS[stem], set(test_identities))]
    missing = sorted(set(test_identities) - {record.identity for record in test})
    if missing:
        raise FileNotFoundError(f"{root}: {len(missing)} identities of test_id.txt have no image; first: {missing[0]}")
    return build_index(train + test, root)


def read_train(root: Path, offset: int) -> tuple[list[Record], set[int]]:
    """Records of the training images, and their identities."""
    files = {stem: root / "idx" / f"train_{stem}.txt" for stem in STEMS}
    listed = {stem: read_image_list(file) for stem, file in files.items()}
    for stem, file in files.items():
        refuse_missing_images(root, listed[stem], file)
    everything = [entry for entries in listed.values() for entry in entries]
    identity_of = number_labels(everything, files["vis"]) or {label: label + offset for _, label in everything}
    records = [
        Record(os.path.abspath(root / path), identity_of[label], camera_in_name(path), int(STEMS[stem]), "train")
        for stem, entries in listed.items()
        for path, label in entries
    ]
    return records, set(identity_of.values())


def camera_in_name(path: str) -> int:
    found = CAMERA_IN_NAME.search(os.path.basename(path))
    return int(found[1]) if found else 0


def read_test(folder: Path, modality: Modality, identities: set[int]) -> list[Record]:
    records = []
    cameras = [(name, CAMERA_FOLDER.fullmatch(name)) for name in list_folders(folder)]
    for camera, number in [(name, int(match[1])) for name, match in cameras if match]:
        for name in list_folders(folder / camera):
            if not name.isdecimal() or int(name) not in identities:
                continue
            person = os.path.join(folder, camera, name)
            records += [
                Record(os.path.join(person, image), int(name), number, int(modality), "test")
                for image in list_images(person)
            ]
    if not records:
        raise FileNotFoundError(f"{folder}: expected cam<k>/<identity>/ with images of test identities; found none")
    return records
