"""The data sets, each an object that says all there is to know of it (`dataset.DataSet`)."""

from __future__ import annotations

from importlib import import_module

from pipeline.datasets.dataset import DataSet
from pipeline.text import nearest

# Another data set is a file in this folder and a line here: its module and the object in it.
PLACES = {
    "sysu": "SYSU",
    "regdb": "REGDB",
    "llcm": "LLCM",
    "folder": "FOLDER",
}
DATASETS: dict[str, DataSet] = {
    name: getattr(import_module(f"pipeline.datasets.{name}"), place) for name, place in PLACES.items()
}


def dataset_of(name: str) -> DataSet:
    """Returns the data set of a name; ValueError, with the nearest name, where there is none."""
    if name not in DATASETS:
        hint = nearest(name.lower(), list(DATASETS))
        raise ValueError(f"data.dataset: expected one of {', '.join(DATASETS)}; found {name!r}{hint}")
    return DATASETS[name]


def trials_are_trainings(name: str) -> bool:
    """Returns whether each trial of a data set is a training; False for a name that this version doesn't know."""
    return name in DATASETS and DATASETS[name].trials_are_trainings
