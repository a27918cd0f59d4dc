"""Shapes of SYSU-MM01 in CSV files: every person's split and number of images by each camera."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

from pipeline.datasets.listing import SPLITS
from pipeline.synthetic.dataset_shapes import NO_SPLIT, SYSU_CAMERAS, Presence, Shape

MOST = 9999  # of identities and of a person's images by a camera: names have four digits
COLUMNS = ("id", "split", *(f"cam{camera}" for camera in SYSU_CAMERAS))


def read_shape(file: str | Path) -> tuple[Shape, str]:
    """Returns the shape of SYSU-MM01 in a CSV file with the columns `COLUMNS`, and the SHA-256 of the file.

    A row is an identity, its split (train, val, test, none) and its number of images by each camera. Raises ValueError
    with one line where the file can't be read or no usable data set would come of it.
    """
    try:
        content = Path(file).read_bytes()
        rows = list(csv.reader(content.decode("utf-8-sig").splitlines()))
    except OSError as error:
        raise ValueError(f"shape {file}: expected a CSV file; found {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"shape {file}: expected a CSV file; found bytes that are not UTF-8") from None
    header = [cell.strip() for cell in rows[0]] if rows else []
    if header != list(COLUMNS):
        found = ",".join(header) or "nothing"
        raise ValueError(f"shape {file}: expected the columns {','.join(COLUMNS)}; found {found}")
    shape: Shape = {}
    for line, row in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in row):
            continue
        identity, presence = _parse_row([cell.strip() for cell in row], f"shape {file}, line {line}")
        if identity in shape:
            raise ValueError(f"shape {file}, line {line}: expected each id once; found {identity} again")
        shape[identity] = presence
    _check_usable(shape, file)
    return dict(sorted(shape.items())), hashlib.sha256(content).hexdigest()


def _parse_row(cells: list[str], where: str) -> tuple[int, Presence]:
    if len(cells) != len(COLUMNS):
        raise ValueError(f"{where}: expected {len(COLUMNS)} values; found {len(cells)}")
    split = cells[1]
    if split not in (*SPLITS, NO_SPLIT):
        raise ValueError(f"{where}, split: expected one of {', '.join((*SPLITS, NO_SPLIT))}; found {split!r}")
    identity = _parse_number(cells[0], 1, f"{where}, id")
    counts = {
        (kind, camera): _parse_number(cell, 0, f"{where}, cam{camera}")
        for (camera, kind), cell in zip(SYSU_CAMERAS.items(), cells[2:], strict=True)
    }
    images = {view: count for view, count in counts.items() if count}
    if not images:
        raise ValueError(f"{where}: expected images of identity {identity} by some camera; found none")
    return identity, Presence(split, images)


def _parse_number(text: str, low: int, where: str) -> int:
    if not text.isdecimal() or not low <= int(text) <= MOST:
        raise ValueError(f"{where}: expected a whole number from {low} to {MOST}; found {text!r}")
    return int(text)


def _check_usable(shape: Shape, file: str | Path) -> None:
    """Raises ValueError for a shape whose data set could not be read, or not be trained and tested on."""
    for split in SPLITS:
        kinds = [{kind for kind, _ in presence.images} for presence in shape.values() if presence.split == split]
        if not any(len(found) > 1 for found in kinds):
            what = "identities of one modality only" if kinds else "no identity"
            raise ValueError(
                f"shape {file}: expected a {split} identity with visible and infrared images; found {what}"
            )
    seen = {camera for presence in shape.values() if presence.split != NO_SPLIT for _, camera in presence.images}
    for camera in SYSU_CAMERAS:
        if camera not in seen:
            raise ValueError(f"shape {file}: expected images by cam{camera} of an identity in a split; found none")
