"""A data set as one object: how it is read, divided and tested, and its published numbers."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.batch import Modality
from pipeline.datasets.columns import Layout
from pipeline.datasets.listing import read_text
from pipeline.datasets.pack import Packs, is_packed
from pipeline.protocols import Trial
from pipeline.settings import DataSettings, EvaluationSettings

# (split, modality, camera) -> number of images
Counts = dict[tuple[str, Modality, int], int]


@dataclass(frozen=True)
class Published:
    """The numbers that a data set's authors published; whatever is left out isn't compared.

    identities  by split, of both modalities together
    images      by split, modality and camera
    total       images of all splits
    galleries   search mode -> images in the gallery of the protocol that the literature reports
    """

    identities: dict[str, int] = field(default_factory=dict)
    images: Counts = field(default_factory=dict)
    total: int | None = None
    galleries: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class FeatureFiles:
    """The format in which a data set's authors keep features.

    suffix  of the path that stands for the files, e.g. .mat
    files   description of what is written for NAME<suffix>
    read    (place, index, rows of the index) -> (n, D) features, (n,) int64 the row of the index each is of
    save    (path, (n, D) features, index, (n,) their rows of the index) -> the files written
    """

    suffix: str
    files: str
    read: Callable[[Path, pd.DataFrame, np.ndarray], tuple[np.ndarray, np.ndarray]]
    save: Callable[[Path, np.ndarray, pd.DataFrame, np.ndarray], list[Path]]


def no_files(root: Path) -> list[Path]:
    """Returns none: the protocol reads nothing but the index."""
    return []


@dataclass(frozen=True)
class DataSet:
    """A data set; `pipeline.datasets.DATASETS` holds all of them.

    name                  value of the setting data.dataset and of the column dataset of results
    title                 its name in messages
    read_folder           (root, settings) -> the index of the unpacked folder `root` (columns: `listing.build_index`);
                          ValueError or FileNotFoundError, one line, for all that isn't as the authors published it
    trials                (index, settings, settings) -> the trials of the protocol; errors likewise
    split_keys            the settings `data.<key>` that decide which identity is in which split
    published             published numbers
    trial_numbers         gallery rule -> the numbers of the protocol's trials; a rule that is missing has one trial
    trials_are_trainings  whether each trial is a training, `data.trial`, with train and test sets of its own
    usual                 column of results -> the value that goes without saying in a table
    tables                name -> columns of the literature's tables of this data set
    feature_files         the authors' own format of features; None: there is none
    protocol_files        root -> the files there that the protocol reads besides the index; packs keep copies of them
    validation            key of `evaluation` -> its value where training identities are validated on instead of tested
    """

    name: str
    title: str
    read_folder: Callable[[str | Path, DataSettings], pd.DataFrame]
    trials: Callable[[pd.DataFrame, DataSettings, EvaluationSettings], list[Trial]]
    split_keys: tuple[str, ...] = ()
    published: Published = Published()
    trial_numbers: dict[str, range] = field(default_factory=dict)
    trials_are_trainings: bool = False
    usual: dict[str, str] = field(default_factory=dict)
    tables: dict[str, Layout] = field(default_factory=dict)
    feature_files: FeatureFiles | None = None
    protocol_files: Callable[[Path], list[Path]] = no_files
    validation: dict[str, Any] = field(default_factory=dict)

    def read_index(self, data: DataSettings) -> pd.DataFrame:
        """Returns the index of the data set in `data.root`, or packed there.

        Raises what `read_folder` raises, and ValueError for packs that are damaged, of something else, or older than
        the folder they were made from (where that is still there).
        """
        if not is_packed(data.root):
            return self.read_folder(data.root, data)
        packs = Packs(data.root)
        packs.check_same(self.name, self.splitting(data))
        if os.path.isdir(packs.description.source):
            packs.check_not_stale(self.read_folder(packs.description.source, data))
        return packs.index

    def splitting(self, data: DataSettings) -> dict[str, int | float | str | None]:
        """Returns the values of `split_keys`, a split file by its content."""
        values = {key: getattr(data, key) for key in self.split_keys}
        if values.get("split_file") is not None:
            content = read_text(Path(values["split_file"])).encode()
            values["split_file"] = f"CRC-32 {zlib.crc32(content):08x}"
        return values
