"""Differences between two runs, with paired bootstrap intervals over the identities of the queries.

Resampled are the identities, each with all its queries, since images of a person are alike: intervals over single
images would be too narrow. Trials and seeds are averaged before: SYSU-MM01's ten trials share their
queries and are no repetitions. An interval is for these trainings tested on other people; the standard
deviation over seeds shows the run-to-run variance. (Efron and Tibshirani, An Introduction to the Bootstrap, 1993.)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from pipeline.datasets import trials_are_trainings
from pipeline.evaluation.per_query import queries_file
from pipeline.evaluation.results import METRICS, groups_of, rank_metrics, summarize
from pipeline.evaluation.results.schema import NONE
from pipeline.tables.table import Table

LEVEL, DRAWS, BATCH = 0.95, 9999, 100
ASKED = ["dataset", "split", "test_set", "mode", "shots", "gallery_rule", "direction"]  # the same of both
ASKED += ["corruption"]
OPTIONS = ["extractor", "feature", "similarity", "metric", "flip", "stems", "fusion", "projection"]
OPTIONS += ["re_ranking", "precision", "selection"]
UNIT = (
    "[ ] is the 95 % interval of the difference over the {} people of the queries (paired bootstrap, all queries of a "
    "person together, trials and seeds averaged)"
)


def metrics_by_query(rows: pd.DataFrame, folders: dict[str, Path]) -> pd.DataFrame:
    """Returns METRICS of every query, per cent, means over the trials and runs of `rows`; `weight`: in how many trials.

    Index: `person`, `query`; both with the trial where trials are trainings, which are tested on different people.
    Raises ValueError where the metrics by query of a run aren't there.
    """
    parts = []
    for (run, evaluation), own in rows.groupby(["run", "evaluation"], sort=False):
        file = queries_file(folders[run], evaluation)
        if not evaluation or not file.is_file():
            raise ValueError(f"{run}: no metrics by query; `python -m pipeline.evaluate {folders[run]}` makes them")
        metrics = pd.read_parquet(file)
        absent = set(own["trial"]) - set(metrics["trial"])
        if absent:
            raise ValueError(
                f"{file}: without trial {min(absent)}; `python -m pipeline.evaluate {folders[run]}` adds it"
            )
        parts.append(metrics[metrics["trial"].isin(own["trial"])])
    metrics = pd.concat(parts, ignore_index=True)
    own_people = metrics["trial"].astype(str) + " " if rows["dataset"].map(trials_are_trainings).all() else ""
    values = {name: 100.0 * (metrics["first_match_rank"] <= k) for name, k in rank_metrics().items()}
    values |= {"mAP": 100 * metrics["average_precision"], "mINP": 100 * metrics["inverse_negative_penalty"]}
    values |= {"person": own_people + metrics["identity"].astype(str), "query": own_people + metrics["query"]}
    table = pd.DataFrame(values | {"weight": metrics["trial"]})
    return table.groupby(["person", "query"]).agg(dict.fromkeys(METRICS, "mean") | {"weight": "nunique"})


def difference(first: pd.DataFrame, second: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, int]:
    """Returns (m,) mean differences of two `metrics_by_query` in METRICS, their (m, 2) intervals, how many people."""
    if not first.index.equals(second.index) or not first["weight"].equals(second["weight"]):
        raise ValueError("their queries aren't the same")
    weighted = (first[METRICS] - second[METRICS]).mul(first["weight"], axis=0).groupby(level="person").sum()
    weight = first["weight"].groupby(level="person").sum()
    sums, weights = np.broadcast_arrays(weighted.to_numpy().T, weight.to_numpy())
    if len(weight) < 2:
        return mean_of_people(sums, weights), np.full((len(METRICS), 2), np.nan), len(weight)
    options = {"paired": True, "vectorized": True, "method": "percentile", "axis": -1, "random_state": 0}
    resampled = bootstrap(
        (sums, weights), mean_of_people, n_resamples=DRAWS, batch=BATCH, confidence_level=LEVEL, **options
    )
    return mean_of_people(sums, weights), np.stack(resampled.confidence_interval, axis=1), len(weight)


def mean_of_people(sums: np.ndarray, weights: np.ndarray, axis: int = -1) -> np.ndarray:
    return sums.sum(axis=axis) / weights.sum(axis=axis)


def table_of_differences(rows: pd.DataFrame, folders: dict[str, Path], reference: Path) -> Table:
    """Returns every mean less that of the run folder `reference`, or of the row it is part of, by protocol.

    Raises ValueError, with the reasons, where there is no difference to show.
    """
    found, left_out = differences(rows, folders, reference)
    if not found:
        reasons = "; ".join(left_out) or "give another run as well"
        raise ValueError(f"--compare {reference}: nothing to compare: {reasons}")
    labels, means, intervals, people = zip(*found, strict=True)
    shown = [[f"{value:+.2f}" for value in mean] for mean in means]
    bounds = [[f"[{low:+.2f}, {high:+.2f}]" if low == low else "" for low, high in interval] for interval in intervals]
    names, heads = (pd.MultiIndex.from_product([[""], columns]) for columns in (METRICS, ["run", "less", "in"]))
    return Table(
        "differences",
        "Differences, in points of per cent",
        pd.DataFrame(labels, columns=heads),
        pd.DataFrame(shown, columns=names),
        pd.DataFrame(bounds, columns=names),
        block=[None] * len(labels),
        notes=[UNIT.format(" or ".join(map(str, sorted(set(people))))), *left_out],
    )


# labels; what `difference` gives
Difference = tuple[list[str], np.ndarray, np.ndarray, int]


def differences(rows: pd.DataFrame, folders: dict[str, Path], reference: Path) -> tuple[list[Difference], list[str]]:
    """Returns those of each mean but the reference's own; and a sentence for each that has none."""
    groups, names = groups_of(rows), summarize(rows)["run"]
    own_runs = {run for run, folder in folders.items() if folder.resolve() == reference.resolve()}
    named = [(*group, name) for group, name in zip(groups, names, strict=True)]
    references = [entry for entry in named if own_runs & set(entry[1]["run"])]
    found, left_out = [], []
    for agreed, group, name in named:
        if own_runs & set(group["run"]):
            continue
        try:
            partner, than = partner_of(agreed, references)
            both = (metrics_by_query(own, folders) for own in (group, partner))
            found.append(([name, than, protocol_of(agreed)], *difference(*both)))
        except ValueError as reason:
            left_out.append(f"{name}, {protocol_of(agreed)}: no difference: {reason}")
    return found, left_out


def protocol_of(agreed: pd.Series) -> str:
    """Returns data set, mode and direction, as `sysu all infrared_to_visible`, and a corruption."""
    named = [agreed[name] for name in ("dataset", "mode", "direction") if agreed.get(name)]
    return " ".join([*named, *([agreed["corruption"]] if agreed.get("corruption", NONE) != NONE else [])])


def partner_of(agreed: pd.Series, references: list[tuple[pd.Series, pd.DataFrame, str]]) -> tuple[pd.DataFrame, str]:
    """Returns the reference's rows of the same protocol and their name; of several, those with the same options."""

    def alike(other: pd.Series, names: list[str]) -> bool:
        return all(agreed.get(name) == other.get(name) for name in names)

    found = [reference for reference in references if alike(reference[0], ASKED)]
    if not found:
        raise ValueError("the reference has no rows of the same protocol and test set")
    chosen = [reference for reference in found if alike(reference[0], OPTIONS)] or found
    if len(chosen) > 1:
        raise ValueError("the reference has several rows of this protocol, none of which has the same options")
    return chosen[0][1:]
