"""The columns of results.csv. A column of numbers that isn't named here is a metric of another version.

A metric is one more entry of RANKS, or of METRICS with the lines that compute it; files written before lack it (NaN).
A new column that rows must agree in belongs into KEYS: unnamed, its numbers would be averaged.
"""

from __future__ import annotations

import re

import pandas as pd

RANKS = (1, 5, 10, 20)  # of the CMC
METRICS = [*(f"rank_{k}" for k in RANKS), "mAP", "mINP"]  # per cent

PER_TRIAL = ["trial", "queries", "gallery"]  # differ between the trials that one mean is over
PER_RUN = ["run", "seed", "config"]  # differ between the runs of one recipe
LABELS = ["method", "method_source"]  # what the method is called, and what it follows
RECORDED = [*LABELS, "ranks", "decode"]  # of a training, by design without an effect on the metrics
AGREED = ["train_set", "weights", "train_precision", "norm", "train_code_version"]  # among trainings of one mean
KEYS = ["dataset", "split", "test_set", "mode", "shots", "gallery_rule", "direction"]  # what is tested
KEYS += ["extractor", "feature", "similarity", "metric", "flip", "stems", "fusion", "projection"]  # and how
KEYS += ["re_ranking", "precision", "corruption"]
KEYS += ["selection", "epoch", "replaced_images", "recipe", *AGREED, "code_version"]  # of which network
EVALUATION = "evaluation"  # a digest of the other columns; the name of a file of queries
COLUMNS = frozenset([*PER_TRIAL, *PER_RUN, *RECORDED, *KEYS, EVALUATION])

# What was done before there was a column for it: rows of older versions, which lack it, stand with those that say so.
BEFORE = {"similarity": "whole", "stems": "own", "corruption": "none"}
UNKNOWN = ("", "unknown")
PIXELS, NONE = "pixels", "none"  # values of `feature`, or of AGREED, where there is no choice

# As Python and pandas write numbers. Digests are none: they may begin with 0 or have an e between digits.
NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]\d+)?", re.ASCII)


def rank_metrics() -> dict[str, int]:
    """Returns the name of each metric of the CMC -> its rank k."""
    return {name: int(name.removeprefix("rank_")) for name in METRICS if name.startswith("rank_")}


def foreign_metrics(rows: pd.DataFrame) -> list[str]:
    """Returns the metrics of other versions: columns that nothing here names and that hold numbers, or nothing."""
    unnamed = [name for name in rows if name not in COLUMNS and name not in METRICS]
    return [name for name in unnamed if holds_numbers(rows[name])]


def holds_numbers(column: pd.Series) -> bool:
    """Returns whether a column, as numbers or as text, has numbers only; missing and empty values don't count."""
    if pd.api.types.is_bool_dtype(column):
        return False
    if pd.api.types.is_numeric_dtype(column):
        return True
    written = [str(value) for value in column[column.notna()] if value != ""]
    return bool(written) and all(NUMBER.fullmatch(text) for text in written)
