"""What was taken of initial weights, what was left, and why: two lines for the log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SHOWN = 4  # names or groups of names
CLASSIFIERS = ("fc", "_fc", "head", "heads", "head_dist", "classifier", "last_linear")  # as files call them


@dataclass(frozen=True)
class Taken:
    """source        of the tensors, as a user would call it
    target        what they were taken into, by its name
    names         of the tensors taken, in the target
    left          tensors of the target that the source hasn't
    left_behind   tensors of the source that the target hasn't
    prefix        of the names in the source
    by_order      whether the names differ
    kinds         what target and source are
    """

    source: str
    target: str
    names: Sequence[str]
    left: Sequence[str]
    left_behind: Sequence[str]
    prefix: str = ""
    by_order: bool = False
    kinds: tuple[str, str] = ("backbone", "file")

    def lines(self) -> tuple[str, str]:
        """Returns a line on what was taken and one on what was left."""
        total = len(self.names) + len(self.left)
        prefix = f" (prefix {self.prefix})" if self.prefix else ""
        how = ", by order and shape as the names differ" if self.by_order else ""
        into, of = self.kinds
        random = f"{len(self.left)}, which stay random ({shown(self.left)})" if self.left else "none"
        groups = grouped(self.left_behind, self.prefix)
        behind = f"{len(self.left_behind)} ({shown(groups)})" if groups else "none"
        return (
            f"{self.source}{prefix}: {len(self.names)} of the {total} tensors of {self.target} taken{how}",
            f"left: of the {into} {random}; of the {of} {behind}",
        )


def shown(names: Sequence[str]) -> str:
    """Returns the first names, with dots where there are more."""
    return ", ".join([*names[:SHOWN], *(["..."] if len(names) > SHOWN else [])])


def grouped(names: Iterable[str], prefix: str) -> list[str]:
    """Returns names with the number of tensors below each: `queue`, `module.encoder_k. 320`, `fc. 2: a classifier`.

    What has the prefix is grouped by the module behind it; the rest as deep as the prefix is.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(group_of(name, prefix), []).append(name)
    shorter = {group: below[0] if len(below) == 1 else f"{group} {len(below)}" for group, below in groups.items()}
    return [f"{text}{': a classifier' if is_classifier(group, prefix) else ''}" for group, text in shorter.items()]


def group_of(name: str, prefix: str) -> str:
    depth = prefix.count(".") + name.startswith(prefix) or 1
    parts = name.split(".")
    return name if len(parts) <= depth else "".join(f"{part}." for part in parts[:depth])


def is_classifier(group: str, prefix: str) -> bool:
    return group.startswith(prefix) and group.removeprefix(prefix).split(".")[0] in CLASSIFIERS
