"""Corrupted images of another source, in the size of the network, as the released code corrupts them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import numpy as np
import pandas as pd
from nvidia.dali import Pipeline

from dali_ops.decode import RESIZED
from dali_ops.decode_graph import decoding_pipeline, resize_images
from pipeline.batch import Modality
from pipeline.corruptions.corrupt import corrupt
from pipeline.datasets.pack import relative_paths
from pipeline.loading.hardware import usable_cores
from pipeline.loading.images import ImageSource, check_size, undecodable
from pipeline.settings import Settings


class CorruptedImages:
    """Captured images of one modality, decoded, resized and then corrupted on the CPU.

    What is drawn for an image depends on the seed, `evaluation.corruption`, `evaluation.corruption_level` and its path
    in the data set: neither on the batch it is in, nor on the number of processes. Images aren't decoded again
    downstream: `form` is pixels.
    """

    form = RESIZED

    def __init__(self, source: ImageSource, index: pd.DataFrame, modality: Modality, settings: Settings) -> None:
        """Raises ValueError where images were packed in another size than the network's."""
        check_size(source, settings.augment)
        self.size = settings.augment.height, settings.augment.width
        self.interpolation = settings.augment.interpolation
        self._source, self._base, self._settings = source, modality.key, settings
        self._names = relative_paths(index, settings.data.root)
        self._threads = settings.loader.threads or usable_cores()

    def path(self, row: int) -> str:
        return self._source.path(row)

    def read(self, row: int) -> np.ndarray:
        return self._source.read(row)

    def feed(self, rows: Iterable[int]) -> list[np.ndarray]:
        rows = list(map(int, rows))
        evaluation, seed = self._settings.evaluation, self._settings.seed

        def corrupted(row: int, image: np.ndarray) -> np.ndarray:
            return corrupt(image, evaluation.corruption, evaluation.corruption_level, seed, self._names[row])

        # NumPy, SciPy and Pillow let other threads work while they compute.
        with ThreadPoolExecutor(self._threads) as pool:
            return list(pool.map(corrupted, rows, self._pixels(rows)))

    def _pixels(self, rows: Sequence[int]) -> list[np.ndarray]:
        """Returns images (height, width, channels) uint8. Raises ValueError with the path of one that can't be read."""
        if self._source.form == RESIZED:
            return self._source.feed(rows)
        try:
            return [*resize_images(self._decoding, [self._source.read(row) for row in rows])]
        except (RuntimeError, ValueError) as error:
            for row, reason in undecodable(self._source, rows, self._base):
                raise ValueError(f"{self.path(row)}: cannot be read as an image: {reason}") from error
            raise

    @cached_property
    def _decoding(self) -> Pipeline:
        return decoding_pipeline(
            self._base,
            batch_size=self._settings.evaluation.batch,
            threads=self._threads,
            size=self.size,
            interpolation=self.interpolation,
        )
