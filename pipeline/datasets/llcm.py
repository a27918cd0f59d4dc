"""LLCM (Zhang and Wang, CVPR 2023): `idx/{train_vis,train_nir,test_id}.txt` and `test_{vis,nir}/cam<k>/<identity>/`.

The camera is the `c<k>` in the name of a training image (0 where there is none) and the folder `cam<k>` of a test
image. The identity of an image is the number of its folder. Where training folders aren't numbered it is the label in
the list, moved above the test identities.

Protocol: all images of one modality as queries; one image of each identity in each camera of the other as gallery,
chosen by `random.seed(trial)` for the trials 0-9. From visible to infrared there are two variants. `paper`: the above.
`repository`: in the authors' code the chosen infrared images are the queries and all visible images the gallery.
Metrics of the two can't be compared.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd

from pipeline.batch import Modality
from pipeline.datasets.columns import Layout, columns
from pipeline.datasets.dataset import DataSet, Published
from pipeline.datasets.listing import (
    Record,
    build_index,
    check_disjoint,
    check_folders,
    check_images_exist,
    list_folders,
    list_images,
    number_labels,
    read_identities,
    read_image_list,
    resolve_root,
)
from pipeline.protocols.galleries import RANDOM_TRIALS, rows_by_identity_and_camera, rows_of, sample_gallery
from pipeline.protocols.trial import DIRECTIONS, Trial, check_known, check_trials
from pipeline.settings import ProtocolVariant

STEMS = {"vis": Modality.VISIBLE, "nir": Modality.INFRARED}
CAMERA_IN_NAME = re.compile(r"(?:^|_)c(\d+)(?:_|\.)")
CAMERA_FOLDER = re.compile(r"cam(\d+)")
VARIANTS = get_args(ProtocolVariant)
IMAGES = 46767  # of both modalities and splits


# ---------------------------------------------------------------- reading


def read_index(root: str | Path) -> pd.DataFrame:
    """Returns the index of LLCM (columns: `listing.build_index`); it has train and test.

    One line of FileNotFoundError or ValueError for a missing folder, list or image, a wrong line, a test identity
    without images, or an identity that is in train and in test.
    """
    root = resolve_root(root, "LLCM")
    check_folders(root, ["idx", "test_vis", "test_nir"], "LLCM")
    test_identities = read_identities(root / "idx" / "test_id.txt")
    train, train_identities = read_train(root, offset=max(test_identities) + 1)
    check_disjoint(train_identities, test_identities, root)
    test = [record for stem in STEMS for record in read_test(root / f"test_{stem}", STEMS[stem], set(test_identities))]
    missing = sorted(set(test_identities) - {record.identity for record in test})
    if missing:
        raise FileNotFoundError(f"{root}: {len(missing)} identities of test_id.txt have no image; first: {missing[0]}")
    return build_index(train + test, root)


def read_train(root: Path, offset: int) -> tuple[list[Record], set[int]]:
    """Returns records of the training images, and their identities."""
    files = {stem: root / "idx" / f"train_{stem}.txt" for stem in STEMS}
    listed = {stem: read_image_list(file) for stem, file in files.items()}
    for stem, file in files.items():
        check_images_exist(root, listed[stem], file)
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


# ---------------------------------------------------------------- protocol


def exclude_same_identity_and_camera(
    query_identities: np.ndarray, query_cameras: np.ndarray, gallery_identities: np.ndarray, gallery_cameras: np.ndarray
) -> np.ndarray:
    """Returns (Q, G) bool: a query skips the gallery images of its own identity and camera."""
    same_identity = query_identities[:, None] == gallery_identities[None, :]
    return same_identity & (query_cameras[:, None] == gallery_cameras[None, :])


def llcm_trials(
    index: pd.DataFrame,
    directions: Sequence[str] = tuple(DIRECTIONS),
    variant: str = "paper",
    split: str = "test",
    trials: int = 10,
) -> list[Trial]:
    """Returns the first `trials` trials of each direction; the results' column mode holds the protocol variant."""
    check_known(directions, tuple(DIRECTIONS), "evaluation.directions")
    check_known([variant], VARIANTS, "evaluation.protocol_variant")
    check_trials(trials)
    made = []
    for direction in directions:
        whole_modality, drawn_modality = DIRECTIONS[direction]
        whole = rows_of(index, split, whole_modality)
        groups = rows_by_identity_and_camera(index, rows_of(index, split, drawn_modality))
        swapped = variant == "repository" and direction == "visible_to_infrared"
        for trial in range(trials):
            sampled = sample_gallery(groups, trial)
            query, gallery = (sampled, whole) if swapped else (whole, sampled)
            fields = {"mode": variant, "shots": "single", "gallery_rule": "random_seed", "direction": direction}
            made.append(Trial(query, gallery, exclude_same_identity_and_camera, True, {**fields, "trial": trial}))
    return made


LLCM = DataSet(
    name="llcm",
    title="LLCM",
    read_folder=lambda root, data: read_index(root),
    trials=lambda index, data, evaluation: llcm_trials(
        index, evaluation.directions, evaluation.protocol_variant, data.test_split, evaluation.trials
    ),
    published=Published(identities={"train": 713, "test": 351}, total=IMAGES),
    trial_numbers={"random_seed": RANDOM_TRIALS},
    usual={"mode": "paper"},
    tables={
        "llcm": Layout(
            "LLCM, per cent",
            [
                column
                for direction in DIRECTIONS
                for column in columns(
                    direction.replace("_", " "), direction, (1, 10, 20), dataset="llcm", direction=direction
                )
            ],
            across="direction",
        )
    },
)
