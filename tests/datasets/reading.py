"""Data sets read and tested by settings, as the tests ask for them."""

from pipeline.datasets import dataset_of
from pipeline.settings import DataSettings, EvaluationSettings


def read_index(dataset, root, **data):
    """The index of a data set in `root`; `data`: settings data.*."""
    return dataset_of(dataset).read_index(DataSettings(dataset=dataset, root=str(root), **data))


def trials(dataset, index, root, *, split="test", trial=1, **evaluation):
    """The trials of a data set's protocol; `evaluation`: settings evaluation.*."""
    data = DataSettings(dataset=dataset, root=str(root), test_split=split, trial=trial)
    return dataset_of(dataset).trials(index, data, EvaluationSettings(**evaluation))
