"""The training loader as the benchmarks start it."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from pipeline.batch import Batch
from pipeline.build import build_divided_index, build_table
from pipeline.loading.batches import training_batches
from pipeline.settings import Settings


def open_batches(settings: Settings, device: torch.device) -> Iterator[Batch]:
    """Returns the batches that training takes, on the device, from the first; reads the index of the data set."""
    index = build_divided_index(settings)
    return training_batches(index, build_table(settings, index), settings, device)
