"""How a setting is declared: a dataclass field with its default, its one explanation and its bounds."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import field
from typing import Any


def key(
    default: Any,
    help: str,
    *,
    min: float | None = None,
    max: float | None = None,
    choices: tuple[str, ...] | None = None,
    part: str | None = None,
    parts: str | None = None,
) -> Any:
    """Returns a dataclass field.

    `min` and `max` bound a number (each number of a list), `choices` names the allowed elements of a list. `part` is
    the table of `pipeline.parts` of which the value, a mapping, is one; `parts`: of which the mapping's values are. All
    are checked by `pipeline.config.load_config`. Lists, mappings and nested settings are made anew for every instance.
    """
    metadata = {"help": help, "min": min, "max": max, "choices": choices, "part": part, "parts": parts}
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    if isinstance(default, list):
        return field(default_factory=lambda: [*default], metadata=metadata)
    if isinstance(default, dict):
        return field(default_factory=lambda: deepcopy(default), metadata=metadata)
    return field(default=default, metadata=metadata)
