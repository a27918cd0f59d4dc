"""Results as tidy rows, one per trial, in per cent, in a CSV file that several processes may add to; their means."""

from __future__ import annotations

import contextlib
import csv
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import locking
from pipeline.datasets import DATASETS, trials_are_trainings
from pipeline.files import write_atomically

METRICS = ["rank_1", "rank_5", "rank_10", "rank_20", "mAP", "mINP"]
VARYING = ["trial", "queries", "gallery"]  # differ between the trials that one mean is over
OF_A_TRAINING = ["run", "seed", "config"]  # differ between trainings by one recipe
RECORDED = ["ranks", "decode"]  # of a training, by design without an effect on what the figures say
AGREED = ["train_set", "weights", "train_precision", "norm", "train_code_version"]  # among trainings of one mean
RELIED_ON = ["dataset", "test_set", "mode", "direction", "gallery_rule", "extractor", "epoch", "replaced_images"]
RELIED_ON += ["recipe", "evaluation", "train_set"]
COUNTED = ["spread", "seeds", "trials", "missing", "gallery"]  # of a mean
UNKNOWN = ("", "unknown")
# In what rows of one data set should agree to be compared, besides what a run's rows differ in by the protocol.
PROTOCOL = ["split", "test_set", "gallery_rule", "metric", "flip", "fusion", "re_ranking", "precision", "selection"]
PROTOCOL += ["feature", *AGREED, "code_version"]
PIXELS, NONE = "pixels", "none"  # the feature, or one of AGREED, of what has no choice of it
TRIALS = 10  # of SYSU-MM01, RegDB and LLCM
ROUNDING = 1e-6
PATIENCE = 120.0  # seconds for others that write to the same file


def read_rows(path: Path) -> pd.DataFrame:
    """The rows of a results.csv: METRICS are float64, VARYING whole numbers, all else is text as it was written.

    A metric that the file or a row lacks, as those of other versions do, is NaN; VARYING are int64, or Int64 where some
    are missing. A last line that a kill cut off is left out with a warning. ValueError, one line, for a file without
    rows or with anything that no evaluation writes; the line number is that of the file.
    """
    header, lines = read_lines(path)
    missing = [name for name in ("run", "trial") if name not in header]
    missing += [] if set(METRICS) & set(header) else METRICS
    if missing or len(set(header)) < len(header):
        problem = f"without {', '.join(missing)}" if missing else "with a name twice"
        raise ValueError(f"{path}: expected the columns of a results.csv; found {','.join(header)[:80]!r} {problem}")
    if not lines:
        raise ValueError(f"{path}: no rows of results; `python -m pipeline.evaluate RUN` adds them")
    rows = pd.DataFrame([fields for _, fields in lines], columns=header)
    numbers = [number for number, _ in lines]
    for name in METRICS:
        if name in rows:
            rows[name] = to_numbers(rows[name], "a number from 0 to 100", path, numbers, most=100 + ROUNDING)
    for name in VARYING:
        if name in rows:
            counts = to_numbers(rows[name], "a whole number", path, numbers, whole=True, required=name == "trial")
            rows[name] = counts.astype("Int64" if counts.isna().any() else np.int64)
    return with_metrics(rows)


def with_metrics(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with all METRICS as their last columns, NaN where they lack one."""
    others = [name for name in rows if name not in METRICS]
    return rows.reindex(columns=[*others, *METRICS])


def read_lines(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and each line's number with its fields, as many as the header has."""
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
        warnings.warn(f"{path}: line {number} has no end, as if a kill had cut it off; it is left out", stacklevel=3)
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
    most: float = np.inf,
    whole: bool = False,
    required: bool = False,
) -> pd.Series:
    """Text -> float64 from 0 to `most`, and NaN for nothing unless `required`; ValueError with the line of another."""
    values = column.map(to_number).astype(np.float64)
    wrong = ~values.between(0, most) | (whole & (values != values.round()))
    wrong &= required | (column != "")
    if wrong.any():
        place = int(np.argmax(wrong))
        found = repr(column.iloc[place]) if column.iloc[place] else "nothing"
        raise ValueError(f"{path}, line {lines[place]}: {column.name}: expected {expected}; found {found}")
    return values


def to_number(text: str) -> float:
    """Exactly the number that was written, which pandas' own parser doesn't promise; NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def as_text(rows: pd.DataFrame) -> pd.DataFrame:
    """All METRICS, and all else as it is written; nothing for what is missing."""
    rows = with_metrics(rows)
    others = rows.drop(columns=METRICS)
    return rows.assign(**others.astype(object).where(others.notna(), "").astype(str))


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Until no other process is in here for the results.csv `path`. OSError where one stays for PATIENCE seconds."""
    with locking.locked(path.with_suffix(".lock"), PATIENCE):
        yield


def refuse_folder(path: Path) -> None:
    """ValueError where a folder has the name of the file of results."""
    if path.is_dir():
        raise ValueError(f"{path}: expected a file, or nothing yet; found a folder; take it away")


def append_rows(path: Path, rows: pd.DataFrame) -> None:
    """Adds rows to the CSV `path`. A row that repeats one already there replaces it: METRICS and RECORDED don't count.

    The file is replaced whole, under a lock: a kill or a second process loses nothing. A file that can't be read is
    kept under another name, with a warning: hours of training may be in the rows that are to be added.
    """
    refuse_folder(path)
    with locked(path):
        rows = as_text(rows)
        if path.exists():
            try:
                rows = pd.concat([as_text(read_rows(path)), rows], ignore_index=True)
            except ValueError as error:
                kept = path.with_name(f"{path.stem}-unreadable-{path.stat().st_mtime_ns}{path.suffix}")
                path.rename(kept)
                warnings.warn(f"{error}; kept as {kept.name}, and {path.name} begun anew", stacklevel=2)
        rows = as_text(rows)  # again: each may lack columns of the other
        duplicated = rows.drop(columns=[*METRICS, *RECORDED], errors="ignore").duplicated(keep="last")
        write_atomically(path, rows[~duplicated].to_csv(index=False))


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over the trials and seeds of rows that agree in everything else, a row each, in the order of `rows`.

    Columns: `run`, the common name of the runs; `runs`, `seed`, `config` and RECORDED, all of them; what the rows agree
    in, as text; METRICS, their means, NaN where a row lacks the metric; `<metric>_std`, the standard deviation (n - 1)
    between `spread`: "seeds" (of each seed's mean over its trials) where seeds have a trial in common, else "trials";
    `seeds` and `trials`, how many, the latter of the seed with the fewest; `missing`, the protocol's trials that aren't
    there, in words. What is alone has NaN.
    """
    means = pd.DataFrame([mean_of(group, agreed) for agreed, group in groups_of(rows)])
    ambiguous = means.groupby("run")["runs"].transform("nunique") > 1
    return means.assign(run=means["run"].mask(ambiguous, means["runs"]))


def groups_of(rows: pd.DataFrame) -> list[tuple[pd.Series, pd.DataFrame]]:
    """What the rows of each mean agree in, as text, and the rows."""
    rows = rows.assign(**{name: "" for name in (*OF_A_TRAINING, *RELIED_ON) if name not in rows})
    numbers = [name for name in VARYING if name in rows]
    rows = as_text(rows).assign(**{name: rows[name].fillna(0).astype(np.int64) for name in numbers})
    keys = agreeing_columns(rows)
    groups = rows.groupby([keys[name] for name in keys], sort=False, dropna=False)
    parts = [part for _, group in groups for part in without_repeats(group)]
    return [(keys.loc[part.index[0]], part) for part in sorted(parts, key=lambda part: part.index[0])]


def agreeing_columns(rows: pd.DataFrame) -> pd.DataFrame:
    """What the rows of one mean agree in, as text."""
    keys = rows.drop(columns=[*METRICS, *VARYING, *OF_A_TRAINING, *RECORDED, "evaluation"], errors="ignore")
    own = rows[OF_A_TRAINING].agg(" ".join, axis=1)
    keys["recipe"] = keys["recipe"].mask(keys["recipe"].isin(UNKNOWN), own)  # an unknown one is nobody else's
    # how many images were replaced varies with the seed; whether any had to be is a matter of the data set
    replaced = ~keys["replaced_images"].isin(["0", *UNKNOWN])
    keys["replaced_images"] = keys["replaced_images"].mask(replaced, "some")
    own_sets = keys["dataset"].map(trials_are_trainings)  # each trial has sets of its own, those tested of one size
    if own_sets.any():
        sizes = rows["queries"].astype(str) + " in " + rows["gallery"].astype(str)
        keys["test_set"] = keys["test_set"].mask(own_sets, sizes)
        known = ~keys["train_set"].isin([*UNKNOWN, NONE])
        keys["train_set"] = keys["train_set"].mask(own_sets & known, "of the trial")
    return keys


def without_repeats(group: pd.DataFrame) -> list[pd.DataFrame]:
    """The group, or its runs one by one where two have the same trial of the same seed, or of different sets.

    ValueError where a single run has such a trial: one of its figures is wrong.
    """
    repeated = group[["seed", "trial"]].duplicated()
    mixed = (group.groupby("trial")[["test_set", "train_set"]].nunique() > 1).any(axis=1)
    if not repeated.any() and not mixed.any():
        return [group]
    if group["run"].nunique() > 1:
        return [part for _, run in group.groupby("run", sort=False) for part in without_repeats(run)]
    trial = group["trial"][repeated].iloc[0] if repeated.any() else mixed.idxmax()
    raise ValueError(f"{group['run'].iloc[0]}: trial {trial} is there twice, with different figures or sets")


def mean_of(group: pd.DataFrame, agreed: pd.Series) -> dict:
    by_seed = group["trial"].duplicated().any()
    lacking = [name for name in METRICS if group[name].isna().any()]  # a mean over some of the rows is another one
    whole = group.assign(**dict.fromkeys(lacking, np.nan))
    figures = whole.groupby("seed" if by_seed else "trial", sort=False)[METRICS].mean()
    names = [name for name in (*OF_A_TRAINING, *RECORDED) if name in group]
    together = {name: ", ".join(dict.fromkeys(group[name])) for name in names}
    return {
        **agreed,
        **together,
        "run": common_name(list(dict.fromkeys(group["run"]))),
        "runs": together["run"],
        **figures.mean(),
        **figures.std().add_suffix("_std"),
        "spread": "seeds" if by_seed else "trials",
        "seeds": group["seed"].nunique(),
        "trials": int(group.groupby("seed")["trial"].nunique().min()) if by_seed else len(group),
        "missing": missing_trials(group, by_seed),
        "gallery": ", ".join(dict.fromkeys(group["gallery"].astype(str))) if "gallery" in group else "",
    }


def common_name(runs: list[str]) -> str:
    """`sysu-b2-seed1`, `sysu-b2-seed2` -> `sysu-b2`; names that have no such common part, one after the other."""
    if len(runs) == 1:
        return runs[0]
    short = {re.sub(r"-(trial|seed)\d+(?=-|$)", "", run) for run in runs}
    return short.pop() if len(short) == 1 else ", ".join(runs)


def expected_trials(row: pd.Series) -> range | None:
    """Returns the numbers of a protocol's trials; None where it has one only, or isn't known."""
    numbers = DATASETS[row["dataset"]].trial_numbers if row["dataset"] in DATASETS else {}
    return numbers.get(row["gallery_rule"])


def missing_trials(group: pd.DataFrame, by_seed: bool) -> str:
    """`6, 7`, or with several seeds `6, 7 of seed 2`; nothing where all are there."""
    expected, words = expected_trials(group.iloc[0]), []
    for seed, own in group.groupby("seed", sort=False) if by_seed else [("", group)]:
        absent = [str(trial) for trial in expected or () if trial not in set(own["trial"])]
        words += [", ".join(absent) + (f" of seed {seed}" if by_seed else "")] if absent else []
    return "; ".join(words)


def differing(means: pd.DataFrame) -> list[str]:
    """The columns in which rows of one name differ, apart from figures and counts."""
    agreed = columns_that_tell(means, [*COUNTED, "run", "runs", "recipe"])
    found = {name for _, own in agreed.groupby(means["run"], sort=False) for name in telling(own)}
    return [name for name in agreed if name in found]


def columns_that_tell(means: pd.DataFrame, besides: list[str]) -> pd.DataFrame:
    """What can tell means apart: neither figures, nor what is recorded only, nor the columns `besides`."""
    figures = [*METRICS, *(f"{name}_std" for name in METRICS), *RECORDED]
    return means.drop(columns=[*figures, *besides], errors="ignore")


def telling(rows: pd.DataFrame) -> list[str]:
    """The columns in which rows differ. Of AGREED those whose known values do, else one in which some aren't known."""
    found = [name for name in rows if rows[name].nunique() > 1]
    unknown = [*UNKNOWN, NONE]
    known = [name for name in AGREED if name in found and rows[name][~rows[name].isin(unknown)].nunique() > 1]
    shown = known or [name for name in AGREED if name in found][:1]
    return [name for name in found if name not in AGREED or name in shown]


def format_summary(means: pd.DataFrame) -> str:
    """Means as text: `51.05 ±1.20`, the deviation where there is one, and below what there is to say of them."""
    lines = means[["run", *differing(means)]].copy()
    for name in METRICS:
        lines[name] = [with_deviation(*pair) for pair in means[[name, f"{name}_std"]].to_numpy()]
    if (means["seeds"] > 1).any():
        lines["seeds"] = means["seeds"]
    lines["trials"] = [f"{row.trials} of {TRIALS}" if row.missing else str(row.trials) for row in means.itertuples()]
    return "\n".join([lines.to_string(index=False), *remarks(means)])


def with_deviation(mean: float, std: float) -> str:
    if pd.isna(mean):
        return ""
    return f"{mean:.2f}" if pd.isna(std) else f"{mean:.2f} ±{std:.2f}"


def remarks(means: pd.DataFrame) -> list[str]:
    """Sentences: between what the deviations are, which trials are missing, in what rows differ that are compared."""
    said = deviations(means[means["mAP_std"].notna()])
    for row in means[means["missing"] != ""].itertuples():
        where = " ".join(word for word in (row.run, row.mode, row.direction) if word)
        said.append(f"{where}: without the trials {row.missing}")
    for dataset, rows in means.groupby("dataset", sort=False):
        compared = rows[[name for name in PROTOCOL if name in rows]]
        without = compared.isin([PIXELS]) | compared.isin(dict.fromkeys(AGREED, [NONE]))
        compared = compared.mask(without)  # NaN: no value of its own, and in no group below
        for name in telling(compared):
            found = rows.groupby(compared[name], sort=False)
            values = [f"{value or 'not known'} ({some(own['run'])})" for value, own in found]
            said += [f"{dataset or 'rows'}: {name} differs: {', '.join(values)}"] if len(values) > 1 else []
    return said


def deviations(means: pd.DataFrame) -> list[str]:
    """What the deviations of means are: `± is the standard deviation between 3 seeds (a) or 10 trials (b, c)`."""
    counts = means["seeds"].where(means["spread"] == "seeds", means["trials"]).astype(str) + " " + means["spread"]
    kinds = {kind: some(own["run"]) for kind, own in means.groupby(counts, sort=False)}
    between = " or ".join(f"{kind} ({names})" for kind, names in kinds.items()) if len(kinds) > 1 else "".join(kinds)
    return [f"± is the standard deviation between {between}"] if kinds else []


def some(names: pd.Series, most: int = 3) -> str:
    """`a, b, c, ...`: the first few, each once."""
    unique = list(dict.fromkeys(names))
    return ", ".join([*unique[:most], "..."] if len(unique) > most else unique)
