"""The columns under which a table of the literature shows a data set."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A column of metrics: `metric` of the means that have the values `where`; its name in the literature's file."""

    head: str
    name: str
    metric: str
    literature: str
    where: dict[str, str]


@dataclass(frozen=True)
class Layout:
    """The columns of one table, and its rows: published ones, each followed by our runs of the same method.

    across      the column of results in which the means of one line differ
    literature  the file of published rows (`pipeline.literature`); None: there is none
    label       its column that names a row
    venue       whether a column says where a row was published, and that ours are ours; else their names say so
    trained     whether only trained networks are shown, and why one isn't of the base-derivative method is said
    backbone    of all its rows, a method of another one is another; None: of any
    ticks       whether columns show the ticks of table 4: modalities and losses
    """

    caption: str
    columns: list[Column]
    across: str
    literature: str | None = None
    label: str = "method"
    venue: bool = True
    trained: bool = False
    backbone: str | None = None
    ticks: bool = False


def columns(head: str, prefix: str, ranks: tuple[int, ...], **where: str) -> list[Column]:
    """Returns a column a rank (r=1, ...) and one for mAP; in the literature's file `<prefix>_r1` ... `<prefix>_map`."""
    by_rank = [Column(head, f"r={k}", f"rank_{k}", f"{prefix}_r{k}".lstrip("_"), where) for k in ranks]
    return [*by_rank, Column(head, "mAP", "mAP", f"{prefix}_map".lstrip("_"), where)]
