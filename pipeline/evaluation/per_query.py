"""Metrics of every query, in `queries/<evaluation>.parquet` of a run folder; `evaluation` is a column of results.csv.

A mean doesn't tell how much it depends on the choice of queries; these files do.
"""

from __future__ import annotations

import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.evaluation.ranking import Scores
from pipeline.evaluation.results import locked
from pipeline.files import replace_atomically
from pipeline.protocols import Trial

COLUMNS = ["trial", "query", "identity", "average_precision", "first_match_rank", "inverse_negative_penalty"]


def evaluation_id(context: dict, trial: Trial) -> str:
    """Returns eight hex digits of all columns of a row of results but the trial's number.

    The trials that one mean is over share it.
    """
    columns = context | {name: value for name, value in trial.fields.items() if name != "trial"}
    return f"{zlib.crc32(repr(sorted(columns.items())).encode()):08x}"


def query_metrics(trial: Trial, scores: Scores, paths: np.ndarray, identity: np.ndarray) -> pd.DataFrame:
    """Returns COLUMNS of the trial's counted queries, a row each; metrics in [0, 1], ranks from 1.

    paths (n,) and identity (n,) are by row of the index.
    """
    counted = ~np.isnan(scores.average_precision)
    query = trial.query[counted]
    metrics = (scores.average_precision, scores.first_match_rank, scores.inverse_negative_penalty)
    values = (trial.fields["trial"], paths[query], identity[query], *(metric[counted] for metric in metrics))
    return pd.DataFrame(dict(zip(COLUMNS, values, strict=True))).astype({"trial": int, "first_match_rank": int})


def queries_file(folder: Path, evaluation: str) -> Path:
    """Returns the file of a run folder with the query metrics of an `evaluation_id`."""
    return folder / "queries" / f"{evaluation}.parquet"


def write_queries(folder: Path, tables: dict[str, pd.DataFrame]) -> None:
    """Writes a file for each evaluation; it replaces an earlier one of the same evaluation."""
    folder.joinpath("queries").mkdir(parents=True, exist_ok=True)
    with locked(folder / "results.csv"):
        for evaluation, table in tables.items():
            replace_atomically(queries_file(folder, evaluation), partial(table.to_parquet, index=False))
