"""The encoded pictures of an index: files of a folder, or rows of its packs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from dali_ops.check import DecodingCheck
from dali_ops.decode import path_bytes
from pipeline.datasets.pack import Packs, is_packed


class FolderPictures:
    """Files, which DALI reads in its own threads."""

    encoded = False  # what `feed` gives is not the pictures but their paths

    def __init__(self, index: pd.DataFrame) -> None:
        self._paths = index["path"].to_numpy()

    def path(self, row: int) -> str:
        return self._paths[row]

    def feed(self, rows: Iterable[int]) -> list[np.ndarray]:
        """What a DALI graph takes for these rows of the index: uint8 arrays."""
        return [path_bytes(path) for path in self._paths[rows]]

    def read(self, row: int) -> np.ndarray:
        """The encoded picture, uint8. ValueError with the reason in a few words where it can't be read."""
        path = Path(self._paths[row])
        try:
            return np.frombuffer(path.read_bytes(), np.uint8)
        except FileNotFoundError:
            reason = "a link to a file that does not exist" if path.is_symlink() else "the file does not exist"
        except IsADirectoryError:
            reason = "a folder"
        except PermissionError:
            reason = "no permission to read the file"
        except OSError as error:
            reason = os.strerror(error.errno)
        raise ValueError(reason)


class PackedPictures:
    """Rows of mapped packs, fed without a copy of the whole."""

    encoded = True

    def __init__(self, packs: Packs) -> None:
        self._packs = packs

    def path(self, row: int) -> str:
        return self._packs.path(row)

    def feed(self, rows: Iterable[int]) -> list[np.ndarray]:
        """As for folders. ValueError, one line, where a pack is damaged."""
        fed = []
        for row in rows:
            try:
                fed.append(self._packs.picture(row))
            except ValueError as error:
                raise ValueError(f"{self.path(row)}: {error}") from None
        return fed

    def read(self, row: int) -> np.ndarray:
        return self._packs.picture(row)


Pictures = FolderPictures | PackedPictures


def open_pictures(root: str | Path, index: pd.DataFrame) -> Pictures:
    """The pictures of `index`, as `pipeline.datasets.read_index` read it from `root`."""
    return PackedPictures(Packs(root)) if is_packed(root) else FolderPictures(index)


def undecodable(pictures: Pictures, rows: Iterable[int], family: str) -> Iterator[tuple[int, str]]:
    """Those of the rows, each once, that can't be read or decoded, with the reason in a few words."""
    check = DecodingCheck(family)
    for row in dict.fromkeys(map(int, rows)):
        try:
            (reason,) = check.reasons([pictures.read(row)])
        except ValueError as error:
            reason = str(error)
        if reason is not None:
            yield row, reason
