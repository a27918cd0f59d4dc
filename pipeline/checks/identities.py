"""Identities: in one split each, with enough images; and what the data set's folder holds besides."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pandas as pd

from pipeline.checks.problem import ERROR, NOTE, WARNING, Problem, count_with_first
from pipeline.datasets.listing import IMAGE_SUFFIXES
from pipeline.loading.sampling import count_images
from pipeline.settings import Settings

OTHER_SUFFIXES = (".tif", ".tiff", ".webp", ".gif", ".jp2", ".heic")


def check_identities(index: pd.DataFrame, settings: Settings) -> Iterator[Problem]:
    """Yields identities in two splits, and those with too few images to fill their part of a batch."""
    splits = index.groupby("identity")["split"].agg(lambda names: sorted(set(names)))
    for identity, names in splits[splits.str.len() > 1].items():
        yield Problem(ERROR, f"identity {identity}", f"expected in one split; found in {' and '.join(names)}")
    rows = index[index["split"].isin(settings.data.train_splits)]
    for modality, of_modality in count_images(rows, settings.batch).items():
        for fewest, most, advice in (
            (0, 0, "it is left out of training"),
            (1, settings.batch.images_per_modality - 1, "images are repeated in a batch"),
        ):
            few = of_modality[of_modality.between(fewest, most)]
            if len(few):
                yield Problem(
                    WARNING,
                    count_with_first(len(few), "training identities", few.index[0]),
                    f"expected {settings.batch.images_per_modality} {modality.key} images or more; "
                    f"found {few.min()} to {few.max()}; {advice}",
                )


def check_leftovers(index: pd.DataFrame, root: str) -> Iterator[Problem]:
    """Yields images in the folder that the split files don't name, and those of formats that aren't read."""
    known = set(index["path"])
    unlisted, unread = [], []
    for folder, _, names in os.walk(os.path.abspath(os.path.expanduser(root))):
        for name in names:
            path = os.path.join(folder, name)
            if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".") and path not in known:
                unlisted.append(path)
            elif name.lower().endswith(OTHER_SUFFIXES):
                unread.append(path)
    if unlisted:
        yield Problem(
            NOTE, count_with_first(len(unlisted), "images", min(unlisted)), "are of no listed identity and not used"
        )
    if unread:
        formats = ", ".join(IMAGE_SUFFIXES)
        yield Problem(
            WARNING, count_with_first(len(unread), "images", min(unread)), f"expected {formats}; they are not used"
        )
