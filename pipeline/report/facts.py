"""The parts of the report that need a run's folder only: settings, environment, hardest queries."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from pipeline.config import default_settings, describe, load_kept
from pipeline.evaluation.per_query import queries_file
from pipeline.evaluation.results import groups_of
from pipeline.run.folder import read_environments

HARDEST = 10
Rows = list[tuple[str, str]]


def settings_rows(folder: Path) -> tuple[Rows, Rows]:
    """Returns (key, value) of the settings that differ from the paper's recipe, and of all.

    Raises ValueError where they can't be read; FileNotFoundError for a run that was only evaluated.
    """
    settings = load_kept(folder / "config.yaml")
    values = [(name, json.dumps(value)) for name, value, _ in describe(settings)]
    usual = {name: json.dumps(value) for name, value, _ in describe(default_settings())}
    changed = [(name, value) for name, value in values if usual.get(name) != value]
    absent = [name for name in usual if name.endswith(".type") and name not in dict(values)]  # parts taken away
    return [*changed, *((name.removesuffix(".type"), "null") for name in absent)], values


def differing_settings(settings: dict[str, Rows]) -> list[list[str]]:
    """Returns lines `key, value of each run`, of the settings in which runs differ."""
    columns = [dict(rows) for rows in settings.values()]
    every = dict.fromkeys(name for column in columns for name in column)
    names = [name for name in every if len({column.get(name) for column in columns}) > 1]
    return [[name, *(column.get(name, "") for column in columns)] for name in names]


def environment_rows(folder: Path) -> Rows:
    """Returns (name, value) of env.json, all values where the starts differ. Raises what `read_environments` raises."""
    starts = read_environments(folder)
    found: dict[str, list[str]] = {"starts": [str(len(starts))] if len(starts) > 1 else []}
    for start in starts:
        values = {name: value for name, value in start.items() if name != "packages"}
        packages = start.get("packages")
        values |= packages if isinstance(packages, dict) else {}
        for name, value in values.items():
            if value not in (None, []) and to_text(value) not in found.setdefault(name, []):
                found[name].append(to_text(value))
    return [
        (name, ", then ".join(values if len(values) < 4 else some(values))) for name, values in found.items() if values
    ]


def some(values: list[str]) -> list[str]:
    """Returns the first, how many others, and the last."""
    return [values[0], f"{len(values) - 2} others", values[-1]]


def to_text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def hardest_queries(folder: Path, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Returns by heading the queries of smallest average precision, a row each, means over the trials; of a run's rows.

    Columns: query, person, AP (per cent), first match (rank). Empty where no metrics per query were kept.
    """
    found = {}
    for agreed, group in groups_of(rows):
        file = queries_file(folder, group["evaluation"].iloc[-1])
        if not group["evaluation"].iloc[-1] or not file.is_file():
            continue
        metrics = pd.read_parquet(file)
        metrics = metrics[metrics["trial"].isin(group["trial"])]
        means = metrics.groupby(["query", "identity"], as_index=False)[["average_precision", "first_match_rank"]].mean()
        worst = means.nsmallest(HARDEST, "average_precision", keep="first")
        heading = " ".join(agreed[name] for name in ("dataset", "mode", "shots", "direction") if agreed.get(name))
        found[heading] = pd.DataFrame(
            {
                "query": worst["query"],
                "person": worst["identity"].astype(str),
                "AP": (100 * worst["average_precision"]).map("{:.2f}".format),
                "first match": worst["first_match_rank"].map("{:.1f}".format),
            }
        )
    return found
