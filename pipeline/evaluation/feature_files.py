"""Features in files: those that a run extracted, to be evaluated again, and those made by any other code.

An `.npz` (NumPy) holds `features`, (N, D) real numbers, and which image each row is of: `path`, N texts (relative to
the data set's folder, or as the index has them), or else `index`, N whole numbers, rows of the index. A data set may
have a format of its authors besides (`DataSet.feature_files`).
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from pipeline.datasets import DATASETS, dataset_of
from pipeline.datasets.dataset import FeatureFiles
from pipeline.datasets.listing import SPLITS
from pipeline.datasets.manifest import MODALITIES, read_csv
from pipeline.datasets.pack import relative_paths
from pipeline.files import replace_atomically
from pipeline.settings import DataSettings

COLUMNS = ("path", "identity", "camera", "modality", "split")
ORIGIN = "pipeline_run"  # entry of our own files, JSON: the columns of a results row that say where features come from
ENTRIES = ("features", "path", "index", ORIGIN)
PATH_LIKE = "N texts `path`, or N whole numbers `index`"


# ---------------------------------------------------------------- reading


def read_features(file: Path, index: pd.DataFrame, rows: np.ndarray, data: DataSettings) -> tuple[torch.Tensor, dict]:
    """Returns features (len(index), D), float64 where the file's are and else float32, and their origin.

    `file`: an .npz; or a folder of the authors' files, or what stands for them. The features of `rows` of the index are
    filled, others may be; the rest are 0. The origin, as the file gives it, is empty but for files of `save_features`.
    Raises ValueError or FileNotFoundError, one line, for a file of something else, values that aren't finite, and
    images missing, there twice or unknown.
    """
    if file.suffix == ".npz":
        features, found, origin = read_numpy(file, index, data.root)
    else:
        features, found, origin = *authors_files(file, data.dataset).read(file, index, rows), {}
    check_values(features, file)
    check_listed_images(found, rows, index, file)
    table = np.zeros((len(index), features.shape[1]), np.float64 if features.dtype.itemsize > 4 else np.float32)
    table[found] = features
    return torch.from_numpy(table), origin


def read_numpy(file: Path, index: pd.DataFrame, root: str | Path) -> tuple[np.ndarray, np.ndarray, dict]:
    """Returns `features` as they are, the row of the index each is of (-1: none), and the origin."""
    arrays = read_arrays(file)
    if "features" not in arrays:
        raise ValueError(f"{file}: expected an entry `features`, (N, D) numbers; found {', '.join(arrays) or 'none'}")
    count = len(arrays["features"]) if arrays["features"].ndim else 0
    if "path" in arrays:
        found = rows_of_paths(check_shape(arrays["path"], "U", count, file), index, root, file)
    elif "index" in arrays:
        found = check_shape(arrays["index"], "iu", count, file)
        unknown = found[(found < 0) | (found >= len(index))]
        if len(unknown):
            raise ValueError(f"{file}: index: expected rows of the index, 0 to {len(index) - 1}; found {unknown[0]}")
    else:
        raise ValueError(f"{file}: expected {PATH_LIKE} with the features; found neither")
    return arrays["features"], found.astype(np.int64), read_origin(arrays, file)


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """Returns the known entries of an .npz. Nothing is ever unpickled: that would run a stranger's code."""
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; expected an .npz with features")
    try:
        with open(file, "rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in ENTRIES if name in arrays}
    except Exception as error:  # NumPy, zipfile and zlib have a dozen kinds
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{file}: expected an .npz of arrays of numbers and texts; found none ({reason})") from None


def check_shape(names: np.ndarray, kinds: str, count: int, file: Path) -> np.ndarray:
    if names.dtype.kind not in kinds or names.shape != (count,):
        raise ValueError(
            f"{file}: expected {PATH_LIKE}, one for each of the {count} rows of features; found {names.dtype} of shape "
            f"{names.shape}"
        )
    return names


def rows_of_paths(paths: np.ndarray, index: pd.DataFrame, root: str | Path, file: Path) -> np.ndarray:
    """Returns (N,) int64; ValueError with the number of paths that aren't in the index, and the first."""
    row_of = {path: row for row, path in enumerate(relative_paths(index, root))}
    row_of |= {path: row for row, path in enumerate(index["path"])}
    found = np.array([row_of.get(path, row_of.get(os.path.normpath(path), -1)) for path in paths.tolist()], np.int64)
    unknown = np.flatnonzero(found < 0)
    if len(unknown):
        raise ValueError(
            f"{file}: {len(unknown)} of {len(paths)} paths are no image of the data set in {root}; the first is "
            f"{str(paths[unknown[0]])!r}; expected paths such as {relative_paths(index[:1], root)[0]!r}"
        )
    return found


def read_origin(arrays: dict[str, np.ndarray], file: Path) -> dict:
    if ORIGIN not in arrays:
        return {}
    try:
        origin = dict(json.loads(str(arrays[ORIGIN])))
        return {name: value for name, value in origin.items() if isinstance(value, (str, int, float))}
    except (ValueError, TypeError):
        raise ValueError(f"{file}: {ORIGIN}: expected what `--save-features` writes; found something else") from None


def check_values(features: np.ndarray, file: Path) -> None:
    if features.ndim != 2 or not features.size or features.dtype.kind not in "fiu":
        raise ValueError(
            f"{file}: features: expected (N, D) real numbers; found {features.dtype} of shape {features.shape}"
        )
    broken = int((~np.isfinite(features).all(axis=1)).sum())
    if broken:
        raise ValueError(f"{file}: features: {broken} of {len(features)} rows hold values that aren't finite")


def check_listed_images(found: np.ndarray, rows: np.ndarray, index: pd.DataFrame, file: Path) -> None:
    """Raises ValueError where an image is there twice, or one of `rows` isn't."""
    images, counts = np.unique(found, return_counts=True)
    twice, missing = images[counts > 1], np.setdiff1d(rows, images)
    for wrong, problem in ((twice, "images have features more than once"), (missing, "images tested have no features")):
        if len(wrong):
            raise ValueError(f"{file}: {len(wrong)} {problem}; the first is {index['path'].iloc[wrong[0]]}")


def read_index_file(file: Path) -> pd.DataFrame:
    """Returns the index of a CSV, in the file's order (columns as of `datasets.listing.build_index`).

    Columns path, identity, camera (whole numbers), modality (visible or infrared, or 0 or 1) and split (train, val or
    test). Raises ValueError, one line with the line's number, for anything else and for a path that is there twice.
    """
    lines = read_csv(file, COLUMNS)
    if not lines:
        raise ValueError(f"{file}: expected a line for each image; found none")
    index = pd.DataFrame([read_line(row, f"{file}:{line}") for line, row in lines])
    twice = index["path"].duplicated().to_numpy()
    if twice.any():
        place = int(np.flatnonzero(twice)[0])
        raise ValueError(f"{file}:{lines[place][0]}: expected each image once; found {index['path'][place]} again")
    return index


def read_line(row: dict[str, str], place: str) -> dict[str, str | int]:
    modalities = {name: int(modality) for name, modality in MODALITIES.items()}
    modalities |= {str(number): number for number in modalities.values()}
    if not row["path"]:
        raise ValueError(f"{place}: path: expected text; found none")
    for column in ("identity", "camera"):
        if not (row[column].isdecimal() and len(row[column]) < 19):
            raise ValueError(f"{place}: {column}: expected a whole number of 0 or more; found {row[column]!r}")
    for column, known in (("modality", modalities), ("split", SPLITS)):
        if row[column] not in known:
            raise ValueError(f"{place}: {column}: expected one of {', '.join(known)}; found {row[column]!r}")
    numbers = {column: int(row[column]) for column in ("identity", "camera")}
    return {"path": row["path"], **numbers, "modality": modalities[row["modality"]], "split": row["split"]}


# ---------------------------------------------------------------- of a data set's authors


def authors_files(path: Path, dataset: str) -> FeatureFiles:
    """Returns the format of features of a data set's authors; ValueError where there is none, and `path` isn't .npz."""
    found = dataset_of(dataset).feature_files
    if found is None:
        others = {other.title: files.suffix for other in DATASETS.values() if (files := other.feature_files)}
        known = " and ".join(f"{suffix} files are {title}'s" for title, suffix in others.items())
        raise ValueError(f"{path}: expected features of {dataset} as NAME.npz ({known})")
    return found


# ---------------------------------------------------------------- writing


def prepare_saving(path: Path, dataset: str) -> None:
    """Makes the folder; ValueError, before anything is extracted, where `save_features` can't write this."""
    if path.suffix != ".npz":
        expected = authors_files(path, dataset)
        if path.suffix != expected.suffix:
            wanted = f"NAME.npz to save features, or NAME{expected.suffix} for {expected.files}"
            raise ValueError(f"{path}: expected {wanted}")
    path.parent.mkdir(parents=True, exist_ok=True)


def save_features(
    path: Path, features: torch.Tensor, index: pd.DataFrame, rows: np.ndarray, data: DataSettings, origin: dict
) -> list[Path]:
    """Writes the features (n, D) of n rows of the index and returns the files: each is there whole or not at all.

    path: NAME.npz with `features`, `path`, `index` and `origin`; or what stands for the authors' files.
    """
    if path.suffix != ".npz":
        return authors_files(path, data.dataset).save(path, features.cpu().numpy(), index, rows)
    arrays = {
        "features": features.cpu().numpy(),
        "path": np.array(relative_paths(index.iloc[rows], data.root), dtype=str),
        "index": rows,
        ORIGIN: np.array(json.dumps(origin)),
    }

    def write(unfinished: Path) -> None:
        with open(unfinished, "wb") as opened:
            np.savez(opened, allow_pickle=False, **arrays)

    replace_atomically(path, write)
    return [path]
