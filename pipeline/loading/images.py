"""The encoded images of an index: files of a folder, or rows of its packs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from dali_ops.check import DecodingCheck
from dali_ops.decode import ENCODED, PATH, RESIZED, path_bytes
from pipeline.datasets.pack import Packs, is_packed
from pipeline.settings import AugmentSettings


class ImageSource(Protocol):
    """Images by row of the index.

    form: what `feed` gives, one of `dali_ops.decode.FORMS`. size: height and width where that is pixels, which were
    resized by `interpolation`.
    """

    @property
    def form(self) -> str: ...

    @property
    def size(self) -> tuple[int, int] | None: ...

    @property
    def interpolation(self) -> str | None: ...

    def path(self, row: int) -> str:
        """Returns the path of an image, by which messages name it."""

    def feed(self, rows: Iterable[int]) -> list[np.ndarray]:
        """Returns what a DALI graph takes for these rows of the index, uint8. Raises ValueError, one line."""

    def read(self, row: int) -> np.ndarray:
        """Returns the image as it is stored, uint8.

        Raises ValueError with the reason in a few words where it can't be read.
        """


class FolderImages:
    """Files, which DALI reads in its own threads."""

    form = PATH
    size = None
    interpolation = None

    def __init__(self, index: pd.DataFrame) -> None:
        self._paths = index["path"].to_numpy()

    def path(self, row: int) -> str:
        return self._paths[row]

    def feed(self, rows: Iterable[int]) -> list[np.ndarray]:
        return [path_bytes(path) for path in self._paths[rows]]

    def read(self, row: int) -> np.ndarray:
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
            reason = error.strerror or str(error)
        raise ValueError(reason)


class PackedImages:
    """Rows of mapped packs, fed without a copy of the whole."""

    def __init__(self, packs: Packs) -> None:
        self._packs = packs
        self.size, self.interpolation = packs.description.size, packs.description.interpolation
        self.form = RESIZED if self.size else ENCODED

    def path(self, row: int) -> str:
        return self._packs.path(row)

    def feed(self, rows: Iterable[int]) -> list[np.ndarray]:
        fed = []
        for row in rows:
            try:
                fed.append(self._packs.image(row))
            except ValueError as error:
                raise ValueError(f"{self.path(row)}: {error}") from None
        return fed

    def read(self, row: int) -> np.ndarray:
        return self._packs.image(row)


def open_images(root: str | Path, index: pd.DataFrame) -> ImageSource:
    """Returns the images of `index`, as `pipeline.datasets` read it from `root`."""
    return PackedImages(Packs(root)) if is_packed(root) else FolderImages(index)


def check_size(image_source: ImageSource, augment: AugmentSettings, group: str = "augment") -> None:
    """Raises ValueError where images were packed in another size than the network's, or resized otherwise.

    group: of the keys that give the size.
    """
    if image_source.size is None:
        return
    if image_source.interpolation != augment.interpolation:
        raise ValueError(
            f"augment.interpolation: the pack holds {image_source.interpolation} images; found "
            f"{augment.interpolation}; pack the data set again or without --resized"
        )
    if image_source.size != (augment.height, augment.width):
        raise ValueError(
            f"{group}.height, {group}.width: the pack holds images of {image_source.size[0]} x {image_source.size[1]}; "
            "found "
            f"{augment.height} x {augment.width}; pack the data set again in that size or without --resized"
        )


def undecodable(image_source: ImageSource, rows: Iterable[int], base: str) -> Iterator[tuple[int, str]]:
    """Yields those of the rows, each once, that can't be read or decoded, with the reason in a few words.

    None of a resized pack: there is nothing to decode in pixels.
    """
    if image_source.form == RESIZED:
        return
    check = DecodingCheck(base)
    for row in dict.fromkeys(map(int, rows)):
        try:
            (reason,) = check.reasons([image_source.read(row)])
        except ValueError as error:
            reason = str(error)
        if reason is not None:
            yield row, reason
