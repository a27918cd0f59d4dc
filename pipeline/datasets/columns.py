"""The columns under which a table of the literature shows a data set."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Column:
    """A column of metrics: `metric` of the means that have the values `where`; its name in the literature's file."""

    head: str
    name: str
    metric: str
    literature: str
    where: dict[str, str]


@dataclass(frozen=True)
class Matching:
    """How published rows are matched with our runs: by the ticks of table 4, which are their modalities and losses.

    label    the column of the literature's file that names a row
    row_of   name of a row -> the row of table 4 that is the same method; names that aren't there are looked up as such
    printed  whether the ticks are columns of the table
    """

    label: str
    row_of: dict[str, str] = field(default_factory=dict)
    printed: bool = False


@dataclass(frozen=True)
class Layout:
    """The columns of one table, and the order of its rows.

    across      the column of results in which the means of one line differ
    literature  the file of published rows (`pipeline.literature`); None: there is none
    matching    our runs stand below the published row of the same method; None: below all published rows
    """

    caption: str
    columns: list[Column]
    across: str
    literature: str | None = None
    matching: Matching | None = None


def columns(head: str, prefix: str, ranks: tuple[int, ...], **where: str) -> list[Column]:
    """Returns a column a rank (r=1, ...) and one for mAP; in the literature's file `<prefix>_r1` ... `<prefix>_map`."""
    by_rank = [Column(head, f"r={k}", f"rank_{k}", f"{prefix}_r{k}".lstrip("_"), where) for k in ranks]
    return [*by_rank, Column(head, "mAP", "mAP", f"{prefix}_map".lstrip("_"), where)]
