"""Means as text: the table that is printed, in what its rows differ, and the remarks below it."""

from __future__ import annotations

import pandas as pd

from pipeline.evaluation.results.means import COUNTED
from pipeline.evaluation.results.schema import AGREED, METRICS, NONE, PIXELS, RECORDED, UNKNOWN

# Columns in which rows of one data set should agree to be compared, besides those that the protocol varies.
PROTOCOL = ["split", "test_set", "gallery_rule", "metric", "flip", "fusion", "projection", "re_ranking", "precision"]
PROTOCOL += ["stems", "selection", "feature", "similarity", *AGREED, "code_version"]

RECONSTRUCTED = "‡"
RECONSTRUCTION = (
    f"{RECONSTRUCTED} a reconstruction: the paper says too little, or there is no code of the authors to follow"
)


def differing(means: pd.DataFrame) -> list[str]:
    """Returns the columns in which rows of one name differ, apart from metrics and counts; where any images are
    corrupted, `corruption` as well."""
    agreed = columns_that_tell(means, [*COUNTED, "run", "runs", "recipe"])
    found = {name for _, own in agreed.groupby(means["run"], sort=False) for name in telling(own)}
    found |= {"corruption"} if corrupted(means).any() else set()
    shown = [name for name in agreed if name in found]
    # rows that nothing shown tells apart, as those of a run before and after it got more epochs
    alike = "recipe" in means and means.duplicated(["run", *shown]).any()
    return [*shown, "recipe"] if alike else shown


def corrupted(means: pd.DataFrame) -> pd.Series:
    """Returns (n,) bool: which means are of corrupted images."""
    kinds = means["corruption"] if "corruption" in means else pd.Series(NONE, index=means.index)
    return ~kinds.isin([NONE, *UNKNOWN])


def columns_that_tell(means: pd.DataFrame, besides: list[str]) -> pd.DataFrame:
    """Returns the columns that can tell means apart: neither metrics, nor RECORDED, nor the columns `besides`."""
    metrics = [name for name in means if f"{name}_std" in means]
    return means.drop(columns=[*metrics, *(f"{name}_std" for name in metrics), *RECORDED, *besides], errors="ignore")


def telling(rows: pd.DataFrame) -> list[str]:
    """Returns the columns in which rows differ.

    Of AGREED those whose known values differ, else one in which some aren't known.
    """
    found = [name for name in rows if rows[name].nunique() > 1]
    unknown = [*UNKNOWN, NONE]
    known = [name for name in AGREED if name in found and rows[name][~rows[name].isin(unknown)].nunique() > 1]
    shown = known or [name for name in AGREED if name in found][:1]
    return [name for name in found if name not in AGREED or name in shown]


def format_summary(means: pd.DataFrame) -> str:
    """Returns means as text: `51.05 ±1.20`, the deviation where there is one, and below it the remarks."""
    lines = means[differing(means)].copy()
    lines.insert(0, "run", marked_runs(means))
    for name in METRICS:
        lines[name] = [with_deviation(*pair) for pair in means[[name, f"{name}_std"]].to_numpy()]
    if (means["seeds"] > 1).any():
        lines["seeds"] = means["seeds"]
    lines["trials"] = trial_counts(means)
    return "\n".join([lines.to_string(index=False), *remarks(means), *reconstruction(means)])


def reconstructed(means: pd.DataFrame) -> pd.Series:
    """Returns (n,) bool: which means are of a method that is a reconstruction; rows of older versions don't say."""
    sources = means["method_source"] if "method_source" in means else pd.Series("", index=means.index)
    return sources == "reconstruction"


def marked_runs(means: pd.DataFrame) -> pd.Series:
    """Returns the names of the runs, those of reconstructions with their mark."""
    return means["run"].where(~reconstructed(means), means["run"] + RECONSTRUCTED)


def reconstruction(means: pd.DataFrame) -> list[str]:
    """Returns one sentence or none: what the mark of a reconstruction means."""
    return [RECONSTRUCTION] if reconstructed(means).any() else []


def trial_counts(means: pd.DataFrame) -> list[str]:
    """Returns the number of trials of each mean, `7 of 10` where some are missing."""
    return [f"{row.trials} of {row.expected}" if row.missing else str(row.trials) for row in means.itertuples()]


def with_deviation(mean: float, std: float) -> str:
    if pd.isna(mean):
        return ""
    return f"{mean:.2f}" if pd.isna(std) else f"{mean:.2f} ±{std:.2f}"


def remarks(means: pd.DataFrame) -> list[str]:
    """Returns sentences: what deviations are over, which trials are missing, in what compared rows differ."""
    remarked = deviations(means[means["mAP_std"].notna()])
    for row in means[means["missing"] != ""].itertuples():
        line = " ".join(part for part in (row.run, row.mode, row.direction) if part)
        remarked.append(f"{line}: without the trials {row.missing}")
    for dataset, rows in means.groupby("dataset", sort=False):
        compared = rows[[name for name in PROTOCOL if name in rows]]
        without = compared.isin([PIXELS]) | compared.isin(dict.fromkeys(AGREED, [NONE]))
        compared = compared.mask(without)  # NaN: no value of its own, and in no group below
        for name in telling(compared):
            found = rows.groupby(compared[name], sort=False)
            values = [f"{value or 'not known'} ({first_few(own['run'])})" for value, own in found]
            remarked += [f"{dataset or 'rows'}: {name} differs: {', '.join(values)}"] if len(values) > 1 else []
    return remarked


def deviations(means: pd.DataFrame) -> list[str]:
    """Returns one sentence or none: `± is the standard deviation over 3 seeds (a) or 10 trials (b, c)`."""
    counts = means["seeds"].where(means["std_over"] == "seeds", means["trials"]).astype(str) + " " + means["std_over"]
    kinds = {kind: first_few(own["run"]) for kind, own in means.groupby(counts, sort=False)}
    over = " or ".join(f"{kind} ({names})" for kind, names in kinds.items()) if len(kinds) > 1 else "".join(kinds)
    return [f"± is the standard deviation over {over}"] if kinds else []


def first_few(names: pd.Series, max: int = 3) -> str:
    """Returns `a, b, c, ...`: the first few names, each once."""
    unique = list(dict.fromkeys(names))
    return ", ".join([*unique[:max], "..."] if len(unique) > max else unique)
