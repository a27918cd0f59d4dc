"""The authors' own files of features: `<name>_cam1.mat` ... `<name>_cam6.mat`, one a camera.

Each holds a cell `feature`; feature{identity}, identities from 1, is (images, D) with the images in the order of their
sorted names, and empty where the person isn't in the camera (Wu et al.; github.com/wuancong/SYSU-MM01).
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.io import savemat

from pipeline.datasets.listing import read_matlab
from pipeline.files import replace_atomically
from pipeline.protocols.galleries import rows_by_identity_and_camera

CAMERAS = range(1, 7)
FILE_NAME = re.compile(r"(.+)_cam(\d)\.mat")
VARIABLE = "feature"


def read_matlab_features(place: Path, index: pd.DataFrame, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (n, D) features and (n,) int64 the row of the index each is of.

    They are all images of the identities and cameras in `rows`. place: the folder of the files, or DIR/NAME.mat where
    it holds those of several names. Raises ValueError or FileNotFoundError, one line, where a file is missing or is
    something else, or the numbers of images differ.
    """
    wanted = set(zip(*(index[name].to_numpy()[rows].tolist() for name in ("identity", "camera")), strict=True))
    groups = rows_by_identity_and_camera(index, np.arange(len(index)))
    files = find_matlab_files(place)
    cells = {camera: read_cells(files, camera, place) for camera in sorted({camera for _, camera in wanted})}
    parts: list[np.ndarray] = []
    found = []
    for identity, camera in sorted(wanted):
        images = groups[identity, camera]
        cell = cells[camera][identity - 1] if 1 <= identity <= len(cells[camera]) else np.empty((0, 0))
        where = f"{files[camera]}: {VARIABLE}{{{identity}}}"
        if cell.ndim != 2 or cell.dtype.kind not in "fiu" or len(cell) != len(images):
            raise ValueError(
                f"{where}: expected numbers, a row for each of {len(images)} images; found {cell.dtype} of shape "
                f"{cell.shape}"
            )
        if parts and cell.shape[1] != parts[0].shape[1]:
            raise ValueError(f"{where}: expected {parts[0].shape[1]} columns, as before; found {cell.shape[1]}")
        parts.append(cell)
        found.append(images)
    return np.concatenate(parts), np.concatenate(found)


def find_matlab_files(place: Path) -> dict[int, Path]:
    """Returns camera -> file."""
    folder = place if place.is_dir() else place.parent
    if not folder.is_dir() or (place != folder and place.suffix != ".mat"):
        raise FileNotFoundError(f"{place}: expected NAME.npz, or a folder of NAME_cam1.mat ...; found neither")
    named = {file: FILE_NAME.fullmatch(file.name) for file in sorted(folder.iterdir())}
    if place != folder:
        own = FILE_NAME.fullmatch(place.name)
        names = {own[1] if own else place.stem}
    else:
        names = {match[1] for match in named.values() if match}
        if len(names) > 1:
            raise ValueError(f"{folder}: holds features of {', '.join(sorted(names))}; name one, as {folder}/NAME.mat")
    found = {int(match[2]): file for file, match in named.items() if match and match[1] in names}
    if not found:
        raise FileNotFoundError(f"{place}: expected NAME_cam1.mat ... NAME_cam6.mat; found none of them")
    return found


def read_cells(files: dict[int, Path], camera: int, place: Path) -> list[np.ndarray]:
    """Returns the cells of a camera, that of identity 1 first."""
    if camera not in files:
        raise FileNotFoundError(f"{place}: expected the features of camera {camera}, NAME_cam{camera}.mat; found none")
    cells = read_matlab(files[camera], VARIABLE)
    if cells.dtype != object:
        raise ValueError(f"{files[camera]}: expected {VARIABLE} to be a cell; found {cells.dtype} numbers")
    return list(cells.ravel())


def save_matlab_features(path: Path, features: np.ndarray, index: pd.DataFrame, rows: np.ndarray) -> list[Path]:
    """Writes (n, D) features of `rows` of the index to the six files DIR/NAME_cam<k>.mat of `path`, DIR/NAME.mat.

    `rows` must hold all images of a person and camera, or none: a place in a cell says which image it is.
    """
    groups = rows_by_identity_and_camera(index, rows)
    place = np.full(len(index), -1)
    place[rows] = np.arange(len(rows))
    people, written = int(index["identity"].max()), []
    for camera in CAMERAS:
        cells = np.empty((people, 1), dtype=object)
        for identity in range(1, people + 1):
            cells[identity - 1, 0] = features[place[groups.get((identity, camera), np.empty(0, np.int64))]]
        file = path.with_name(f"{path.stem}_cam{camera}.mat")
        replace_atomically(file, partial(savemat, mdict={VARIABLE: cells}))
        written.append(file)
    return written
