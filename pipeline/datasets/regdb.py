"""RegDB (Nguyen et al., Sensors 2017): `Visible/`, `Thermal/` and `idx/{train,test}_{visible,thermal}_{1..10}.txt`.

The identity of an image is the number of its folder. Where folders aren't numbered it is the label in the list, moved
up for the test split, because labels start at 0 in both. The visible camera is 1 and the thermal camera 2.

Protocol: all test images of one modality against all of the other. Its ten trials are ten trainings: a model trained on
split k is tested on split k only.
"""

from __future__ import annotations

import os
from pathlib import Path

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
    number_labels,
    read_image_list,
    resolve_root,
)
from pipeline.protocols.all_against_all import all_against_all

TRIALS = range(1, 11)
STEMS = {"visible": Modality.VISIBLE, "thermal": Modality.INFRARED}
CAMERAS = {"visible": 1, "thermal": 2}
SPLITS = ("train", "test")
IMAGES = 2060  # of each modality in each split
SHOWN = {"dataset": "regdb", "direction": "visible_to_infrared"}  # in the tables of the literature


def read_index(root: str | Path, trial: int = 1) -> pd.DataFrame:
    """Returns the index of RegDB's split number `trial`, 1-10 (columns: `listing.build_index`); it has train and test.

    One line of FileNotFoundError or ValueError for a missing folder, list or image, a wrong line, or an identity that
    is in train and in test.
    """
    if trial not in TRIALS:
        raise ValueError(f"data.trial: RegDB has the splits {TRIALS[0]} to {TRIALS[-1]}; found {trial}")
    root = resolve_root(root, "RegDB")
    check_folders(root, ["Visible", "Thermal", "idx"], "RegDB")
    files = {(split, stem): root / "idx" / f"{split}_{stem}_{trial}.txt" for split in SPLITS for stem in STEMS}
    listed = {key: read_image_list(file) for key, file in files.items()}
    for key, file in files.items():
        check_images_exist(root, listed[key], file)
    identity_of = number_people(listed, files)
    check_disjoint(identity_of["train"].values(), identity_of["test"].values(), root)
    records = [
        Record(os.path.abspath(root / path), identity_of[split][label], CAMERAS[stem], int(STEMS[stem]), split)
        for (split, stem), entries in listed.items()
        for path, label in entries
    ]
    return build_index(records, root)


def number_people(
    listed: dict[tuple[str, str], list[tuple[str, int]]], files: dict[tuple[str, str], Path]
) -> dict[str, dict[int, int]]:
    """Returns split -> label -> identity, distinct over both splits unless a folder is in both."""
    entries = {split: [entry for stem in STEMS for entry in listed[split, stem]] for split in SPLITS}
    numbers = {split: number_labels(entries[split], files[split, "visible"]) for split in SPLITS}
    found = {split: by_folder for split, by_folder in numbers.items() if by_folder is not None}
    if len(found) == len(SPLITS):
        return found
    labels = {split: {label for _, label in entries[split]} for split in SPLITS}
    offset = max(labels["train"]) + 1
    return {
        "train": {label: label for label in labels["train"]},
        "test": {label: label + offset for label in labels["test"]},
    }


REGDB = DataSet(
    name="regdb",
    title="RegDB",
    read_folder=lambda root, data: read_index(root, data.trial),
    trials=lambda index, data, evaluation: all_against_all(
        index, evaluation.directions, data.test_split, trial=data.trial
    ),
    split_keys=("trial",),
    published=Published(
        identities={"train": 206, "test": 206},
        images={(split, modality, CAMERAS[stem]): IMAGES for split in SPLITS for stem, modality in STEMS.items()},
        galleries={"all": IMAGES},
    ),
    trial_numbers={"all": TRIALS},
    trials_are_trainings=True,
    tables={
        "regdb": Layout(
            "RegDB, visible to infrared, per cent (table 2 of Liu et al., ICPR 2020)",
            columns("", "", (1, 10, 20), **SHOWN),
            across="mode",
            literature="regdb_visible2thermal",
        )
    },
)
