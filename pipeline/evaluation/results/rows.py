"""The file: rows read from a results.csv and added to it."""

from __future__ import annotations

import contextlib
import csv
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import locking
from pipeline.evaluation.results.schema import METRICS, PER_TRIAL, RECORDED, foreign_metrics
from pipeline.files import write_atomically

ROUNDING = 1e-6
PATIENCE = 120.0  # seconds for others that write to the same file


def read_rows(path: Path) -> pd.DataFrame:
    """Returns the rows of a results.csv: metrics are float64, PER_TRIAL whole numbers, all else is text as written.

    A metric that the file or a row lacks, as those of other versions do, is NaN; those of METRICS are always there, and
    so are others that the file has. PER_TRIAL are int64, or Int64 where some are missing. A last line without an end,
    truncated by a crash, is left out with a warning. Raises ValueError, one line, for a file without rows or with
    anything that no evaluation writes; the line number is that of the file.
    """
    return with_numbers(read_written(path))


def with_numbers(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows with the metrics of other versions as float64, too."""
    return rows.assign(**{name: rows[name].map(to_number).astype(np.float64) for name in foreign_metrics(rows)})


def read_written(path: Path) -> pd.DataFrame:
    """Returns rows as `read_rows` does, but for the metrics of other versions, which are text as written."""
    header, lines = read_lines(path)
    missing = [name for name in ("run", "trial") if name not in header]
    if len(set(header)) == len(header) and not missing and not lines:
        raise ValueError(f"{path}: no rows of results; `python -m pipeline.evaluate RUN` adds them")
    rows = pd.DataFrame([fields for _, fields in lines], columns=header)
    missing += [] if set(METRICS) & set(header) or foreign_metrics(rows) else METRICS
    if missing or len(set(header)) < len(header):
        problem = f"without {', '.join(missing)}" if missing else "with a name twice"
        raise ValueError(f"{path}: expected the columns of a results.csv; found {','.join(header)[:80]!r} {problem}")
    numbers = [number for number, _ in lines]
    for name in METRICS:
        if name in rows:
            rows[name] = to_numbers(rows[name], "a number from 0 to 100", path, numbers, max=100 + ROUNDING)
    for name in PER_TRIAL:
        if name in rows:
            counts = to_numbers(rows[name], "a whole number", path, numbers, whole=True, required=name == "trial")
            rows[name] = counts.astype("Int64" if counts.isna().any() else np.int64)
    return with_metrics(rows)


def with_metrics(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows with all METRICS as their last columns, NaN where they lack one."""
    others = [name for name in rows if name not in METRICS]
    return rows.reindex(columns=[*others, *METRICS])


def read_lines(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Returns the header, and each line's number with its fields, as many as the header has."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        reader = csv.reader(text.splitlines(keepends=True), strict=True)
        found = [(reader.line_num, fields) for fields in reader if fields]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a CSV file: {error}") from None
    if not found:
        raise ValueError(f"{path}: is empty; `python -m pipeline.evaluate RUN` adds rows")
    (_, header), *lines = found
    if lines and not text.endswith(("\n", "\r")):
        number, _ = lines.pop()
        warnings.warn(f"{path}: line {number} has no end, as if a crash had truncated it; it is left out", stacklevel=3)
    for number, fields in lines:
        if len(fields) != len(header):
            raise ValueError(f"{path}, line {number}: expected {len(header)} fields; found {len(fields)}")
    return header, lines


def to_numbers(
    column: pd.Series,
    expected: str,
    path: Path,
    lines: list[int],
    *,
    max: float = np.inf,
    whole: bool = False,
    required: bool = False,
) -> pd.Series:
    """Returns text as float64 from 0 to `max`, NaN for nothing unless `required`; ValueError names another's line."""
    values = column.map(to_number).astype(np.float64)
    wrong = ~values.between(0, max) | (whole & (values != values.round()))
    wrong &= required | (column != "")
    if wrong.any():
        place = int(np.argmax(wrong))
        found = repr(column.iloc[place]) if column.iloc[place] else "nothing"
        raise ValueError(f"{path}, line {lines[place]}: {column.name}: expected {expected}; found {found}")
    return values


def to_number(text: str) -> float:
    """Returns exactly the number that was written, which pandas' own parser doesn't promise; NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def as_text(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows with all METRICS, and all else as it is written; nothing for what is missing."""
    rows = with_metrics(rows)
    others = rows.drop(columns=METRICS)
    return rows.assign(**others.astype(object).where(others.notna(), "").astype(str))


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock of the results.csv `path`. Raises OSError where another process does for PATIENCE seconds."""
    with locking.locked(path.with_suffix(".lock"), PATIENCE):
        yield


def check_not_folder(path: Path) -> None:
    """Raises ValueError where a folder has the name of the file of results."""
    if path.is_dir():
        raise ValueError(f"{path}: expected a file, or nothing yet; found a folder; remove it")


def append_rows(path: Path, rows: pd.DataFrame) -> None:
    """Adds rows to the CSV `path`. A row that repeats one already there replaces it: metrics and RECORDED don't count.

    The file is replaced whole, under a lock: a crash or a second process loses nothing. A file that can't be read is
    kept under another name, with a warning: hours of training may be in the rows that are to be added.
    """
    check_not_folder(path)
    with locked(path):
        rows = as_text(rows)
        if path.exists():
            try:
                rows = pd.concat([as_text(read_written(path)), rows], ignore_index=True)
            except ValueError as error:
                kept = path.with_name(f"{path.stem}-unreadable-{path.stat().st_mtime_ns}{path.suffix}")
                path.rename(kept)
                warnings.warn(f"{error}; kept as {kept.name}, and {path.name} begun anew", stacklevel=2)
        rows = as_text(rows)  # again: each may lack columns of the other
        besides = [*METRICS, *foreign_metrics(rows), *RECORDED]
        duplicated = rows.drop(columns=besides, errors="ignore").duplicated(keep="last")
        write_atomically(path, rows[~duplicated].to_csv(index=False))
