"""The table of corruptions: images as they were captured, the benchmark's own number, and every kind by itself."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd

from pipeline.corruptions.corrupt import CORRUPTIONS, RANDOM
from pipeline.evaluation.results import COUNTED, METRICS, columns_that_tell, corrupted
from pipeline.evaluation.results.schema import NONE
from pipeline.tables.build import table_of_runs
from pipeline.tables.table import Table

MEAN = "mean"
KINDS = [NONE, RANDOM, MEAN, *CORRUPTIONS]  # in this order
WRITTEN = re.compile(r"(\w+)(?: of \d+)?(\(.*\))?")  # a kind and its parameters, as `describe_corruption` writes them
PROTOCOL = ["dataset", "split", "test_set", "mode", "shots", "direction"]
ABOUT = "none: as captured; random: the benchmark's number, a kind drawn for each image; mean: over the kinds there are"


def table_of_corruptions(means: pd.DataFrame) -> Table:
    """Returns `table_of_runs` of the runs that were evaluated with corrupted images, and a mean over the kinds of each.

    Rows stand by protocol, level and kind, the runs one below the other. Raises ValueError where nothing is corrupted.
    """
    if not corrupted(means).any():
        raise ValueError(
            "--layout corruption: expected rows of corrupted images; the runs have none; evaluate them with "
            "evaluation.corruption=all"
        )
    means = means[means["runs"].isin(means["runs"][corrupted(means)])]
    means = means[means["corruption"].str.extract(WRITTEN)[0].isin(KINDS)]  # features of files don't say theirs
    means = pd.concat([means, means_over_kinds(means)], ignore_index=True)
    protocols = pd.Series(pd.factorize(means.reindex(columns=PROTOCOL).fillna("").agg(" ".join, axis=1))[0])
    written = means["corruption"].str.extract(WRITTEN).fillna("")
    places = pd.DataFrame([protocols, written[1], written[0].map(KINDS.index)]).T
    order = places.sort_values([*places], kind="stable").index
    starts = protocols[order].to_numpy()
    table = table_of_runs(means.loc[order])
    rules = (np.flatnonzero(np.diff(starts)) + 1).tolist()
    return replace(
        table, name="corruption", caption="Corrupted images, per cent", rules=rules, notes=[ABOUT, *table.notes]
    )


def means_over_kinds(means: pd.DataFrame) -> pd.DataFrame:
    """Returns a row for each mean over the kinds of a run with one level, in one protocol; its kind is `mean`, or `mean
    of 2` where it is of so few."""
    written = means["corruption"].str.extract(WRITTEN).fillna("")
    single = written[0].isin(list(CORRUPTIONS))
    keys = columns_that_tell(means, [*COUNTED, "corruption"]).assign(parameters=written[1])[single]
    rows = []
    for _, group in means[single].groupby([keys[name] for name in keys], sort=False, dropna=False):
        kinds = written[0][group.index].nunique()
        named = (MEAN if kinds == len(CORRUPTIONS) else f"{MEAN} of {kinds}") + written[1][group.index[0]]
        deviations = dict.fromkeys([f"{name}_std" for name in METRICS], np.nan)
        rows.append(group.iloc[0].to_dict() | group[METRICS].mean().to_dict() | deviations | {"corruption": named})
    return pd.DataFrame(rows, columns=means.columns)
