"""Training identities held out for validation: neither trained on nor ever tested, the same at every start."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np
import pandas as pd

from pipeline.batch import Modality
from pipeline.datasets import dataset_of
from pipeline.datasets.listing import HELD_OUT
from pipeline.settings import Settings

ValidationSplit = Literal["val", "validation"]
OWN_SPLIT: Literal["val"] = "val"  # of a data set that comes with images to validate on
STREAM = 1  # keeps these random numbers apart from those that divide a user's data into train and test
FEWEST = 2  # identities that can be confused


def hold_out(index: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Returns the index in which the held-out identities are in the split `validation`; rows keep their places.

    Those that a user's split file puts there; else `validation.identities` of the training identities that are
    captured in both modalities, a pure function of `validation.seed` (NumPy's Philox, the same on every machine).
    Raises ValueError where fewer than two are held out, or too few are left for a batch.
    """
    share = settings.validation.identities
    if not share or (index["split"] == HELD_OUT).any():
        return index
    trained = index["split"].isin(settings.data.train_splits)
    candidates = both_modalities(index[trained])
    count = round(len(candidates) * share)
    if count < FEWEST:
        raise ValueError(
            f"validation.identities: expected a share that holds out {FEWEST} or more of {len(candidates)} training "
            f"identities; found {share:g}"
        )
    if len(candidates) - count < settings.batch.ids_per_batch:
        raise ValueError(
            f"validation.identities: expected a share that leaves batch.ids_per_batch={settings.batch.ids_per_batch} "
            f"or more of {len(candidates)} training identities; found {share:g}, which leaves {len(candidates) - count}"
        )
    # Raw numbers rather than Generator.choice, whose algorithm a version of NumPy may change.
    numbers = np.random.Philox(key=[settings.validation.seed, STREAM]).random_raw(len(candidates))
    held_out = candidates[np.argsort(numbers, kind="stable")[:count]]
    return index.assign(split=index["split"].mask(trained & index["identity"].isin(held_out), HELD_OUT))


def both_modalities(rows: pd.DataFrame) -> np.ndarray:
    """Returns (n,) int64, ascending: the identities with images in both captured modalities."""
    captured = [set(rows["identity"][rows["modality"] == int(base)]) for base in (Modality.VISIBLE, Modality.INFRARED)]
    return np.array(sorted(set.intersection(*captured)), dtype=np.int64)


def validation_split(index: pd.DataFrame, settings: Settings) -> ValidationSplit:
    """Returns the split that is validated on. Raises ValueError where it is trained on, tested, or isn't there."""
    split: ValidationSplit = HELD_OUT if (index["split"] == HELD_OUT).any() else OWN_SPLIT
    if not (index["split"] == split).any():
        raise ValueError(
            f"validation.identities: expected a share of the training identities to hold out, as {settings.data.root} "
            f"has no split {OWN_SPLIT}; found {settings.validation.identities:g}"
        )
    if split in settings.data.train_splits:
        raise ValueError(
            f"validation.identities: expected a share to hold out, or data.train_splits without {split}; found "
            f"{settings.validation.identities:g} and data.train_splits={settings.data.train_splits}"
        )
    found = index["identity"][index["split"] == split].nunique()
    if found < FEWEST:
        raise ValueError(f"validation: expected {FEWEST} identities or more in the split {split}; found {found}")
    if split == settings.data.test_split:
        raise ValueError(
            f"data.test_split: expected another split than {split}, on which is validated: its metrics would be those "
            "of the selection"
        )
    return split


def is_validated_on(split: str, kept: Settings) -> bool:
    """Whether a training of the settings `kept` validates on that split, which it neither trains on nor tests."""
    if kept.validation.every_epochs is None or split in (*kept.data.train_splits, kept.data.test_split):
        return False
    return split == HELD_OUT or (split == OWN_SPLIT and not kept.validation.identities)


def as_validations(settings: Settings) -> dict[str, Any]:
    """Returns the keys of `evaluation` that validations set: those of the data set, no projection, which is learned
    after a training only, and images as they were captured."""
    plain = {"projection": "none", "corruption": "none", "corruption_level": None}
    return dataset_of(settings.data.dataset).validation | plain


def validation_settings(settings: Settings, split: ValidationSplit) -> Settings:
    """Returns the settings that evaluate the split as validations do: `evaluation`, but for what only a test can be."""
    evaluation = dataclasses.replace(settings.evaluation, extractor="network", **as_validations(settings))
    return dataclasses.replace(
        settings, data=dataclasses.replace(settings.data, test_split=split), evaluation=evaluation
    )
