"""One finding about a data set."""

from __future__ import annotations

from dataclasses import dataclass

ERROR, WARNING, NOTE = "error", "warning", "note"


@dataclass(frozen=True)
class Problem:
    """An error makes the data set unusable, a warning is worth a look, a note needs nothing.

    where: a file, a folder, a setting or how many of them. what: expected, found, what to do.
    """

    level: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.level}: {self.where}: {self.what}"


def count_with_first(count: int, things: str, first: object) -> str:
    """Returns `3 images (first: cam1/0001/0001.jpg)`."""
    return f"{count} {things} (first: {first})"
