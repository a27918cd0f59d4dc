"""Figures of every query, in `queries/<evaluation>.parquet` of a run folder; `evaluation` is a column of results.csv.

A mean says nothing of how much it owes to the choice of the queries; these files do.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.evaluation.ranking import Scores
from pipeline.evaluation.results import locked
from pipeline.files import replace_atomically
from pipeline.protocols import Trial

COLUMNS = ["trial", "query", "identity", "average_precision", "first_match_rank", "inverse_negative_penalty"]


def evaluation_of(described: dict, trial: Trial) -> str:
    """Eight hex digits, the same for trials whose mean is taken: of all that a row of results says but the trial."""
    said = described | {name: value for name, value in trial.fields.items() if name != "trial"}
    return f"{zlib.crc32(repr(sorted(said.items())).encode()):08x}"


def query_figures(trial: Trial, scores: Scores, paths: np.ndarray, identity: np.ndarray) -> pd.DataFrame:
    """COLUMNS of the trial's counted queries, a row each, in [0, 1] and ranks from 1.

    paths (n,) and identity (n,) by row of the index.
    """
    counted = ~np.isnan(scores.average_precision)
    query = trial.query[counted]
    figures = (scores.average_precision, scores.first_match_rank, scores.inverse_negative_penalty)
    values = (trial.fields["trial"], paths[query], identity[query], *(figure[counted] for figure in figures))
    return pd.DataFrame(dict(zip(COLUMNS, values, strict=True))).astype({"trial": int, "first_match_rank": int})


def queries_file(folder: Path, evaluation: str) -> Path:
    return folder / "queries" / f"{evaluation}.parquet"


def write_queries(folder: Path, queries: dict[str, pd.DataFrame]) -> None:
    """A file for each evaluation, which replaces that of the same evaluation made before."""
    folder.joinpath("queries").mkdir(parents=True, exist_ok=True)
    with locked(folder / "results.csv"):
        for evaluation, figures in queries.items():
            file = queries_file(folder, evaluation)
            replace_atomically(file, lambda place, figures=figures: figures.to_parquet(place, index=False))
