"""The columns of tables 1 to 4 of Liu et al., ICPR 2020, and of a table of LLCM in their style."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Column:
    """A column of figures: `metric` of the means that have the values `where`; its name in the literature's file."""

    head: str
    name: str
    metric: str
    literature: str
    where: dict[str, str]


@dataclass(frozen=True)
class Layout:
    """literature: its file, None where there is none; across: what the means of one line differ in."""

    caption: str
    columns: list[Column]
    across: str
    literature: str | None = None


def columns(head: str, prefix: str, ranks: tuple[int, ...], **where: str) -> list[Column]:
    by_rank = [Column(head, f"r={k}", f"rank_{k}", f"{prefix}_r{k}".lstrip("_"), where) for k in ranks]
    return [*by_rank, Column(head, "mAP", "mAP", f"{prefix}_map".lstrip("_"), where)]


RANKS = (1, 10, 20)
VISIBLE = {"dataset": "regdb", "direction": "visible_to_infrared"}
SYSU = {mode: {"dataset": "sysu", "mode": mode} for mode in ("all", "indoor")}
SYSU_COLUMNS = [column for mode, where in SYSU.items() for column in columns(f"{mode}-search", mode, RANKS, **where)]
BOTH_SETS = columns("RegDB", "regdb", (1,), **VISIBLE)
BOTH_SETS += [column for mode, where in SYSU.items() for column in columns(f"{mode}-search", mode, (1,), **where)]
LLCM = [
    column
    for direction in ("visible_to_infrared", "infrared_to_visible")
    for column in columns(direction.replace("_", " "), direction, RANKS, dataset="llcm", direction=direction)
]
PAPER = "Liu et al., ICPR 2020"
LAYOUTS = {
    "sysu": Layout(f"SYSU-MM01, per cent (table 1 of {PAPER})", SYSU_COLUMNS, "mode", "sysu_mm01"),
    "regdb": Layout(
        f"RegDB, visible to infrared, per cent (table 2 of {PAPER})",
        columns("", "", RANKS, **VISIBLE),
        "mode",
        "regdb_visible2thermal",
    ),
    "llcm": Layout("LLCM, per cent", LLCM, "direction"),
    "same-backbone": Layout(f"The same backbone, per cent (table 3 of {PAPER})", BOTH_SETS, "mode", "same_backbone"),
    "ablation": Layout(f"Ablation, per cent (table 4 of {PAPER})", BOTH_SETS, "mode", "ablation"),
}


def select(means: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """The means that the columns show."""
    return means[pd.concat([matches(means, column) for column in columns], axis=1).any(axis=1)]


def figures_of(rows: pd.DataFrame, column: Column) -> tuple[str, str]:
    """The mean and the deviation of a column among a line's rows, as they are printed; nothing where there is none."""
    chosen = rows[matches(rows, column)]
    assert len(chosen) <= 1, "one line has several means of a column"
    if chosen.empty:
        return "", ""
    mean, std = chosen.iloc[0][[column.metric, f"{column.metric}_std"]]
    return "" if pd.isna(mean) else f"{mean:.2f}", "" if pd.isna(std) else f"±{std:.2f}"


def matches(rows: pd.DataFrame, column: Column) -> pd.Series:
    return (rows[list(column.where)] == pd.Series(column.where)).all(axis=1)
