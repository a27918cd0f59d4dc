"""The means over rows that agree in all that matters."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from pipeline.datasets import DATASETS, trials_are_trainings
from pipeline.evaluation.results.rows import as_text, with_numbers
from pipeline.evaluation.results.schema import (
    BEFORE,
    EVALUATION,
    METRICS,
    NONE,
    PER_RUN,
    PER_TRIAL,
    RECORDED,
    UNKNOWN,
    foreign_metrics,
)

# Columns that means are made by; where rows lack one, it is empty.
REQUIRED = ["dataset", "test_set", "mode", "direction", "gallery_rule", "extractor", "epoch", "replaced_images"]
REQUIRED += ["recipe", EVALUATION, "train_set"]
COUNTED = ["std_over", "seeds", "trials", "expected", "missing", "gallery"]  # of a mean


def summarize(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns means over trials and seeds of rows that agree in everything else, a row each, in the order of `rows`.

    run             the common name of the runs
    runs, seed      all of them; so are `config`, `epoch` and RECORDED
    <agreed>        columns in which the rows agree, as text
    <metric>        of METRICS and any other metric, the mean; NaN where a row lacks the metric
    <metric>_std    its standard deviation (n - 1) over `std_over`; NaN where there is one only
    std_over        "seeds" (of each seed's mean over its trials) where seeds have a trial in common, else "trials"
    seeds, trials   how many; the latter of the seed with the fewest
    expected        the protocol's number of trials; 0 where it isn't known
    missing         the trials that aren't there, as text
    """
    metrics = [*METRICS, *foreign_metrics(rows)]
    means = pd.DataFrame([mean_of(group, agreed, metrics) for agreed, group in groups_of(rows)])
    ambiguous = means.groupby("run")["runs"].transform("nunique") > 1
    return means.assign(run=means["run"].mask(ambiguous, means["runs"]))


def groups_of(rows: pd.DataFrame) -> list[tuple[pd.Series, pd.DataFrame]]:
    """Returns what the rows of each mean agree in, as text, and the rows.

    Rows of older versions have the values of BEFORE in columns that they lack and others have.
    """
    rows = rows.assign(**{name: "" for name in (*PER_RUN, *REQUIRED) if name not in rows})
    numbers = [name for name in PER_TRIAL if name in rows]
    counts = {name: rows[name].fillna(0).astype(np.int64) for name in numbers}
    rows = with_numbers(as_text(rows)).assign(**counts)
    rows = rows.assign(**{name: rows[name].replace("", value) for name, value in BEFORE.items() if name in rows})
    keys = agreeing_columns(rows)
    groups = rows.groupby([keys[name] for name in keys], sort=False, dropna=False)
    parts = [part for _, group in groups for part in without_repeats(group)]
    return [(keys.loc[part.index[0]], part) for part in sorted(parts, key=lambda part: part.index[0])]


def agreeing_columns(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns what the rows of one mean agree in, as text."""
    # Everything counts but metrics, what differs between trials or seeds, and what has no effect.
    others = [*METRICS, *foreign_metrics(rows), *PER_TRIAL, *PER_RUN, *RECORDED, EVALUATION]
    keys = rows.drop(columns=others, errors="ignore")
    # An unknown recipe is shared with no other run.
    own = rows[PER_RUN].agg(" ".join, axis=1)
    keys["recipe"] = keys["recipe"].mask(keys["recipe"].isin(UNKNOWN), own)
    # How many images were replaced varies with the seed; whether any had to be is a matter of the data set.
    replaced = ~keys["replaced_images"].isin(["0", *UNKNOWN])
    keys["replaced_images"] = keys["replaced_images"].mask(replaced, "some")
    # When the best weights were found, or patience ended a training, varies with the seed; the recipe has its length.
    trained = ~keys["epoch"].isin(["0", *UNKNOWN])
    keys["epoch"] = keys["epoch"].mask(trained, "some")
    # Where each trial is a training (RegDB), each has a training set and a test set of its own: their digests must
    # differ. The test sets agree in their size instead, and of the training sets it only counts that they are known.
    own_sets = keys["dataset"].map(trials_are_trainings)
    if own_sets.any():
        sizes = rows["queries"].astype(str) + " in " + rows["gallery"].astype(str)
        keys["test_set"] = keys["test_set"].mask(own_sets, sizes)
        known = ~keys["train_set"].isin([*UNKNOWN, NONE])
        keys["train_set"] = keys["train_set"].mask(own_sets & known, "of the trial")
    return keys


def without_repeats(group: pd.DataFrame) -> list[pd.DataFrame]:
    """Returns the group, or its runs one by one where two have the same trial of the same seed, or of different sets.

    Raises ValueError where a single run has such a trial: one of its results is wrong.
    """
    repeated = group[["seed", "trial"]].duplicated()
    mixed = (group.groupby("trial")[["test_set", "train_set"]].nunique() > 1).any(axis=1)
    if not repeated.any() and not mixed.any():
        return [group]
    if group["run"].nunique() > 1:
        return [part for _, run in group.groupby("run", sort=False) for part in without_repeats(run)]
    trial = group["trial"][repeated].iloc[0] if repeated.any() else mixed.idxmax()
    raise ValueError(f"{group['run'].iloc[0]}: trial {trial} is there twice, with different metrics or sets")


def mean_of(group: pd.DataFrame, agreed: pd.Series, metrics: list[str]) -> dict:
    """Returns a row of `summarize`."""
    by_seed, expected = group["trial"].duplicated().any(), expected_trials(group.iloc[0])
    lacking = [name for name in metrics if group[name].isna().any()]  # a mean over some of the rows is another one
    whole = group.assign(**dict.fromkeys(lacking, np.nan))
    values = whole.groupby("seed" if by_seed else "trial", sort=False)[metrics].mean()
    names = [name for name in (*PER_RUN, *RECORDED, "epoch") if name in group]
    together = {name: ", ".join(filter(None, dict.fromkeys(group[name]))) for name in names}
    return {
        **agreed,
        **together,
        "run": common_name(list(dict.fromkeys(group["run"]))),
        "runs": together["run"],
        **values.mean(),
        **values.std().add_suffix("_std"),
        "std_over": "seeds" if by_seed else "trials",
        "seeds": group["seed"].nunique(),
        "trials": int(group.groupby("seed")["trial"].nunique().min()) if by_seed else len(group),
        "expected": len(expected),
        "missing": missing_trials(group, expected, by_seed),
        "gallery": ", ".join(dict.fromkeys(group["gallery"].astype(str))) if "gallery" in group else "",
    }


def common_name(runs: list[str]) -> str:
    """Returns `b2` for `b2-seed1`, `b2-seed2`; of names without such a common part one after the other."""
    if len(runs) == 1:
        return runs[0]
    short = {re.sub(r"-(trial|seed)\d+(?=-|$)", "", run) for run in runs}
    return short.pop() if len(short) == 1 else ", ".join(runs)


def expected_trials(row: pd.Series) -> range:
    """Returns the numbers of a protocol's trials; none where it has one only, or isn't known."""
    numbers = DATASETS[row["dataset"]].trial_numbers if row["dataset"] in DATASETS else {}
    return numbers.get(row["gallery_rule"], range(0))


def missing_trials(group: pd.DataFrame, expected: range, by_seed: bool) -> str:
    """Returns `6, 7`, or with several seeds `6, 7 of seed 2`; nothing where all are there."""
    found = []
    for seed, own in group.groupby("seed", sort=False) if by_seed else [("", group)]:
        absent = [str(trial) for trial in expected if trial not in set(own["trial"])]
        found += [", ".join(absent) + (f" of seed {seed}" if by_seed else "")] if absent else []
    return "; ".join(found)
