"""How many identities and images there are, beside the published numbers."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from pipeline.batch import Modality
from pipeline.checks.problem import WARNING, Problem
from pipeline.datasets.listing import SPLITS
from pipeline.datasets.published import IDENTITIES, TOTAL_IMAGES, published_images

KEYS = ["split", "modality", "camera"]
ALL = "all"  # stands in a total for what it is over


def count_table(index: pd.DataFrame, dataset: str | None) -> pd.DataFrame:
    """split, modality, camera, identities, identities_expected, images, images_expected; a total below each split.

    Expected numbers are those published of `dataset`, missing where there are none (all of them for None).
    """
    groups = index.groupby(KEYS)
    found = pd.DataFrame({"identities": groups["identity"].nunique(), "images": groups.size()})
    images = pd.Series(published_images(dataset) if dataset else {}, dtype="Int64")
    images.index = pd.MultiIndex.from_tuples([(s, int(m), c) for s, m, c in images.index], names=KEYS)
    table = found.join(images.rename("images_expected"), how="outer").reset_index()
    table["identities_expected"] = pd.array([None] * len(table), dtype="Int64")
    table["modality"] = [Modality(value).key for value in table["modality"]]
    identities = IDENTITIES.get(dataset, {})
    parts = []
    for split in SPLITS:
        rows = table[table["split"] == split].sort_values("camera", kind="stable")
        if len(rows):
            total = {"split": split, "modality": ALL, "camera": ALL, "images": rows["images"].sum()}
            total["identities"] = index["identity"][index["split"] == split].nunique()
            total["identities_expected"] = identities.get(split)
            total["images_expected"] = rows["images_expected"].sum() if rows["images_expected"].notna().all() else None
            parts += [rows, pd.DataFrame([total])]
    numbers = ["identities", "identities_expected", "images", "images_expected"]
    joined = pd.concat([part.astype({name: "Int64" for name in numbers}) for part in parts], ignore_index=True)
    joined["images"], joined["identities"] = joined["images"].fillna(0), joined["identities"].fillna(0)
    return joined[[*KEYS, *numbers]]


def check_counts(table: pd.DataFrame, dataset: str | None) -> Iterator[Problem]:
    """A warning for each number of `count_table` that isn't the published one."""
    for row in table.itertuples(index=False):
        where = f"{row.split}, {row.modality}, camera {row.camera}" if row.camera != ALL else row.split
        for name, count, expected in (
            ("identities", row.identities, row.identities_expected),
            ("images", row.images, row.images_expected),
        ):
            if pd.notna(expected) and count != expected:
                yield Problem(WARNING, where, f"expected {expected} {name}; found {count}; unpack the data set again")
    total = int(table["images"][table["camera"] == ALL].sum())
    if dataset in TOTAL_IMAGES and total != TOTAL_IMAGES[dataset]:
        yield Problem(WARNING, "all splits", f"expected {TOTAL_IMAGES[dataset]} images; found {total}")


def format_counts(table: pd.DataFrame) -> str:
    """As text; without the expected numbers where none are published."""
    shown = table.rename(columns={"identities_expected": "expected", "images_expected": "expected "})
    for name in ("expected", "expected "):
        if shown[name].isna().all():
            shown = shown.drop(columns=name)
        else:
            shown[name] = shown[name].astype(object).where(shown[name].notna(), "-")
    return shown.to_string(index=False)
