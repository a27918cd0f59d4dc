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
    """The columns of one table.

    across      the column of results in which the means of one line differ
    literature  the file of published rows (`pipeline.literature`); None: there is none
    ticked      whether rows are methods of the base-derivative framework, found by their modalities and losses
    """

    caption: str
    columns: list[Column]
    across: str
    literature: str | None = None
    ticked: bool = False


def columns(head: str, prefix: str, ranks: tuple[int, ...], **where: str) -> list[Column]:
    """Returns a column a rank (r=1, ...) and one for mAP; in the literature's file `<prefix>_r1` ... `<prefix>_map`."""
    by_rank = [Column(head, f"r={k}", f"rank_{k}", f"{prefix}_r{k}".lstrip("_"), where) for k in ranks]
    return [*by_rank, Column(head, "mAP", "mAP", f"{prefix}_map".lstrip("_"), where)]
