"""From means to the lines of a table: which belong into one line, its name, and which lines may be compared."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from pipeline.datasets import DATASETS
from pipeline.evaluation.results import COUNTED, columns_that_tell, reconstructed, telling
from pipeline.evaluation.results.schema import BEFORE

# The values of the paper's recipe, which a name leaves out.
USUAL = {"split": "test", "extractor": "network", "flip": "False", "fusion": "none", "re_ranking": "none"}
USUAL |= {"projection": "none", "selection": "last", **BEFORE}


@dataclass(frozen=True)
class Line:
    """`rows`: means of one method that differ in mode, direction or data set only; `name`: of its runs."""

    name: str
    rows: pd.DataFrame

    @property
    def runs(self) -> list[str]:
        return [run for runs in dict.fromkeys(self.rows["runs"]) for run in runs.split(", ")]

    @property
    def published(self) -> bool:
        """Returns whether the galleries are as large as the published ones; if not, the test set is another."""
        galleries = zip(self.rows["dataset"], self.rows["mode"], self.rows["gallery"], strict=True)
        return all(gallery == str(published_gallery(dataset, mode)) for dataset, mode, gallery in galleries)

    @property
    def reconstructed(self) -> bool:
        """Returns whether the method follows less than its paper or its authors' code."""
        return bool(reconstructed(self.rows).any())

    @property
    def block(self) -> str:
        """Returns the same for lines that may be compared."""
        return "published" if self.published else ", ".join(dict.fromkeys(self.rows["test_set"]))


def published_gallery(dataset: str, mode: str) -> int | None:
    """Returns the number of images in the gallery of the published protocol; None where it isn't known."""
    return DATASETS[dataset].published.galleries.get(mode) if dataset in DATASETS else None


def lines_of(means: pd.DataFrame, across: str) -> list[Line]:
    """Returns lines of rows that differ in the column `across` (mode or direction) only, with names that differ.

    A name has each option that isn't the usual one, and where two would be the same, the options that differ.
    """
    keys = columns_that_tell(means, [*COUNTED, "runs", "seed", "config", across])
    groups = [group for _, group in means.groupby([keys[name] for name in keys], sort=False)]
    names = [name_of(group.iloc[0]) for group in groups]
    alike = pd.Series(names).duplicated(keep=False)
    differing = {
        name: telling(keys.loc[own].drop(columns="recipe", errors="ignore"))
        for name, own in group_places(names, groups).items()
    }
    return [
        Line(with_options(name, group.iloc[0], differing[name]) if twice else name, group)
        for name, group, twice in zip(names, groups, alike, strict=True)
    ]


def group_places(names: list[str], groups: list[pd.DataFrame]) -> dict[str, list]:
    places: dict[str, list] = {}
    for name, group in zip(names, groups, strict=True):
        places.setdefault(name, []).extend(group.index)
    return places


def name_of(row: pd.Series) -> str:
    """Returns `demo`, or `demo (flip=True)`."""
    if row.get("extractor") == "unknown":
        return f"{row['run']} (of unknown origin)"
    usual = USUAL | (DATASETS[row["dataset"]].usual if row["dataset"] in DATASETS else {})
    return with_options(
        row["run"], row, [name for name, value in usual.items() if row.get(name, value) not in (value, "")]
    )


def with_options(name: str, row: pd.Series, columns: list[str]) -> str:
    options = ", ".join(f"{column}={row[column] or 'not known'}" for column in columns)
    return f"{name} ({options})" if options else name
