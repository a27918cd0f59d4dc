"""From settings to the index, the images trained on and the trials; networks are made by `pipeline.methods`."""

from __future__ import annotations

from typing import TypeVar

import pandas as pd
import torch

from pipeline import protocols
from pipeline.datasets import dataset_of
from pipeline.datasets.held_out import hold_out
from pipeline.datasets.listing import HELD_OUT
from pipeline.loading.sampling import TrainingTable, training_table
from pipeline.settings import DataSettings, Settings

Placed = TypeVar("Placed", bound=torch.nn.Module)


def build_index(data: DataSettings) -> pd.DataFrame:
    """Returns the index of the data set that the settings name; errors as of `DataSet.read_index`.

    As it is divided on disk or by `data`: `build_divided_index` is what is trained on.
    """
    return dataset_of(data.dataset).read_index(data)


def build_divided_index(settings: Settings) -> pd.DataFrame:
    """Returns the index with the identities that `validation` holds out in a split of their own (`hold_out`)."""
    return hold_out(build_index(settings.data), settings)


def training_rows(index: pd.DataFrame, data: DataSettings) -> pd.DataFrame:
    """Returns the rows trained on, with their place in the whole index kept. Raises ValueError where there are none."""
    rows = index[index["split"].isin(data.train_splits)]
    if rows.empty:
        raise ValueError(f"data.train_splits: no images in {', '.join(data.train_splits)} of {data.root}")
    return rows


def build_table(settings: Settings, index: pd.DataFrame) -> TrainingTable:
    """Returns the images to train on, by label, of the index with the held-out identities in a split of their own."""
    divided = not settings.validation.identities or (index["split"] == HELD_OUT).any()
    assert divided, "the index of a training that holds out identities is that of build_divided_index"
    return training_table(training_rows(index, settings.data), settings.batch)


def build_trials(settings: Settings, index: pd.DataFrame) -> list[protocols.Trial]:
    """Returns the test of the data set's protocol, as `settings.evaluation` wants it."""
    return dataset_of(settings.data.dataset).trials(index, settings.data, settings.evaluation)


def place_network(network: Placed, settings: Settings, device: torch.device) -> Placed:
    """Moves a network to the device and memory layout of training, so that it is tested by the same kernels."""
    layout = torch.channels_last if settings.train.channels_last else torch.contiguous_format
    return network.to(device).to(memory_format=layout)
