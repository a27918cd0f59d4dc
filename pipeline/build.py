"""From settings to the index, the images trained on and the trials; networks are made by `pipeline.methods`."""

from __future__ import annotations

from typing import TypeVar

import pandas as pd
import torch

from pipeline import protocols
from pipeline.datasets import read_index
from pipeline.loading.sampling import TrainingTable, training_table
from pipeline.settings import DataSettings, Settings

Placed = TypeVar("Placed", bound=torch.nn.Module)


def build_index(data: DataSettings) -> pd.DataFrame:
    return read_index(
        data.dataset,
        data.root,
        trial=data.trial,
        test_fraction=data.test_fraction,
        split_seed=data.split_seed,
        split_file=data.split_file,
    )


def training_rows(index: pd.DataFrame, data: DataSettings) -> pd.DataFrame:
    """The rows trained on, with their place in the whole index kept. ValueError where there are none."""
    rows = index[index["split"].isin(data.train_splits)]
    if rows.empty:
        raise ValueError(f"data.train_splits: no images in {', '.join(data.train_splits)} of {data.root}")
    return rows


def build_table(settings: Settings, index: pd.DataFrame) -> TrainingTable:
    """The images to train on, by label."""
    return training_table(training_rows(index, settings.data), settings.batch)


def build_trials(settings: Settings, index: pd.DataFrame) -> list[protocols.Trial]:
    """The test of the data set's protocol, as `settings.evaluation` wants it."""
    evaluation = settings.evaluation
    return protocols.trials(
        settings.data.dataset,
        index,
        settings.data.root,
        split=settings.data.test_split,
        modes=evaluation.modes,
        shots=evaluation.shots,
        rule=evaluation.gallery_rule,
        directions=evaluation.directions,
        reading=evaluation.reading,
        trial=settings.data.trial,
        trials=evaluation.trials,
    )


def place_network(network: Placed, settings: Settings, device: torch.device) -> Placed:
    """On the device and in the memory layout in which it is trained, so that it is tested by the same kernels."""
    layout = torch.channels_last if settings.train.channels_last else torch.contiguous_format
    return network.to(device).to(memory_format=layout)
