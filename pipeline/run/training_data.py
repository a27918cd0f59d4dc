"""The data a run is trained on: its identities in the order of their labels, and the images of each.

Kept in training_data.json of the run folder. The settings name a folder only, and its contents may change.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.datasets.pack import relative_paths
from pipeline.files import write_atomically
from pipeline.loading.sampling import TrainingTable
from pipeline.settings import DataSettings


@dataclass(frozen=True)
class TrainingData:
    """The same for a folder and its packs, wherever they are.

    images      captured modality -> how many
    identities  name, or number where there are no names, of each label's identity -> CRC-32 of its images, eight hex
                digits: their relative paths, cameras and modalities, in the order of the index
    """

    dataset: str
    images: dict[str, int]
    identities: dict[str, str]

    @property
    def digest(self) -> str:
        """Eight hex digits of all of it."""
        lines = (f"{name}\t{images}" for name, images in self.identities.items())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]

    def save(self, folder: Path) -> None:
        content = {"digest": self.digest, "dataset": self.dataset, "images": self.images}
        text = json.dumps(content | {"identities": self.identities}, indent=1, ensure_ascii=False)
        write_atomically(training_data_path(folder), text + "\n")


def training_data_path(folder: Path) -> Path:
    return folder / "training_data.json"


def training_data(index: pd.DataFrame, table: TrainingTable, data: DataSettings) -> TrainingData:
    """Returns the record of the table's rows of the index of `data.root`."""
    names = index["name" if "name" in index else "identity"].to_numpy()
    lines = image_lines(index, data)
    images_of = [np.concatenate(rows) for rows in zip(*table.rows.values(), strict=True)]
    identities = {str(names[rows[0]]): checksum(lines[rows]) for rows in images_of}
    return TrainingData(data.dataset, {base.key: table.images(base) for base in table.rows}, identities)


def image_lines(index: pd.DataFrame, data: DataSettings) -> np.ndarray:
    """Returns (n,) texts that tell apart all images: path, camera and modality."""
    columns = (relative_paths(index, data.root), index["camera"], index["modality"])
    return np.array(["\t".join(map(str, fields)) for fields in zip(*columns, strict=True)], dtype=object)


def checksum(lines: Iterable[str]) -> str:
    return f"{zlib.crc32(chr(10).join(lines).encode()):08x}"


def read_training_data(folder: Path) -> TrainingData | None:
    """Returns the data a run was trained on; None for runs older than this record.

    Raises ValueError where it can't be read.
    """
    file = training_data_path(folder)
    if not file.exists():
        return None
    try:
        content = json.loads(file.read_text())
        return TrainingData(content["dataset"], dict(content["images"]), dict(content["identities"]))
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{file}: expected what a training writes; found {type(error).__name__}: {error}") from None


def check_same_data(now: TrainingData, folder: Path, root: str) -> None:
    """Raises ValueError where the run in `folder` is trained on anything else than `now`, which is in `root`."""
    before = read_training_data(folder)
    if before is not None and before.digest != now.digest:
        raise ValueError(
            f"{folder}: is trained on other data than is in {root} now: {difference(before, now)}. "
            f"Choose another name= or the data.root= it began with"
        )


def difference(before: TrainingData, now: TrainingData) -> str:
    """Returns in a few words: identities that are gone or new, numbered anew, or of other images."""
    changed = [name for name in {**before.identities, **now.identities} if not in_both(name, before, now)]
    if changed:
        where = "not there any more" if changed[0] in before.identities else "among them, and was not"
        return f"identity {changed[0]} is {where} ({len(changed)} differ)"
    other = [name for name, images in before.identities.items() if now.identities[name] != images]
    if not other:
        return "the same identities in another order"
    counts = f" (then {count(before)}, now {count(now)})" if before.images != now.images else ""
    return f"identity {other[0]} has other images ({len(other)} of {len(now.identities)} do){counts}"


def in_both(name: str, before: TrainingData, now: TrainingData) -> bool:
    return name in before.identities and name in now.identities


def count(data: TrainingData) -> str:
    return " and ".join(f"{images} {modality}" for modality, images in data.images.items())
