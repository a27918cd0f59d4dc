"""Counts identities and images, and compares them with the published numbers."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from pipeline.batch import Modality
from pipeline.checks.problem import WARNING, Problem
from pipeline.datasets.dataset import Published
from pipeline.datasets.listing import HELD_OUT, SPLITS

KEYS = ["split", "modality", "camera"]
ALL = "all"  # in a row of totals, for the columns they are over


def count_table(index: pd.DataFrame, published: Published) -> pd.DataFrame:
    """Returns the columns KEYS, identities, identities_expected, images, images_expected, and a total below each split.

    Expected numbers are the published ones, missing where there are none.
    """
    groups = index.groupby(KEYS)
    found = pd.DataFrame({"identities": groups["identity"].nunique(), "images": groups.size()})
    images = pd.Series(published.images, dtype="Int64")
    images.index = pd.MultiIndex.from_tuples([(s, int(m), c) for s, m, c in images.index], names=KEYS)
    table = found.join(images.rename("images_expected"), how="outer").reset_index()
    table["identities_expected"] = pd.array([None] * len(table), dtype="Int64")
    table["modality"] = [Modality(value).key for value in table["modality"]]
    parts = []
    for split in (*SPLITS, HELD_OUT):
        rows = table[table["split"] == split].sort_values("camera", kind="stable")
        if len(rows):
            total = {"split": split, "modality": ALL, "camera": ALL, "images": rows["images"].sum()}
            total["identities"] = index["identity"][index["split"] == split].nunique()
            total["identities_expected"] = published.identities.get(split)
            total["images_expected"] = rows["images_expected"].sum() if rows["images_expected"].notna().all() else None
            parts += [rows, pd.DataFrame([total])]
    numbers = ["identities", "identities_expected", "images", "images_expected"]
    joined = pd.concat([part.astype({name: "Int64" for name in numbers}) for part in parts], ignore_index=True)
    joined["images"], joined["identities"] = joined["images"].fillna(0), joined["identities"].fillna(0)
    return joined[[*KEYS, *numbers]]


def check_counts(table: pd.DataFrame, published: Published) -> Iterator[Problem]:
    """Yields a warning for each number of `count_table` that isn't the published one."""
    for row in table.itertuples(index=False):
        where = f"{row.split}, {row.modality}, camera {row.camera}" if row.camera != ALL else row.split
        for name, count, expected in (
            ("identities", row.identities, row.identities_expected),
            ("images", row.images, row.images_expected),
        ):
            if pd.notna(expected) and count != expected:
                yield Problem(WARNING, where, f"expected {expected} {name}; found {count}; unpack the data set again")
    total = int(table["images"][table["camera"] == ALL].sum())
    if published.total is not None and total != published.total:
        yield Problem(WARNING, "all splits", f"expected {published.total} images; found {total}")


def format_counts(table: pd.DataFrame) -> str:
    """Returns the table as text; without the expected numbers where none are published."""
    shown = table.rename(columns={"identities_expected": "expected", "images_expected": "expected "})
    for name in ("expected", "expected "):
        if shown[name].isna().all():
            shown = shown.drop(columns=name)
        else:
            shown[name] = shown[name].astype(object).where(shown[name].notna(), "-")
    return shown.to_string(index=False)
