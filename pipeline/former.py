"""Settings as former versions had them: names, values and defaults that have changed since.

A run keeps its settings in config.yaml under the names of its day. Whoever renames a key or a value, or changes a
default, adds an entry here: older runs are then read as they were meant, and no recipe's hash changes.
"""

from __future__ import annotations

from typing import Any

# former full name -> name now
KEYS: dict[str, str] = {}

# (full name now, former value, or element of a list) -> value now
VALUES: dict[tuple[str, Any], Any] = {("train.norm", "synchronised"): "auto"}

# Full name now -> what a training did at first where nobody gave the key: the first default, where it has changed
# since, or what was done before there was the key, where that isn't the default.
FIRST_DEFAULTS: dict[str, Any] = {"model.backbone": "resnet50"}


def read(values: dict, known: set[str]) -> tuple[dict, list[str]]:
    """The values of a kept config.yaml by the names of now, with FIRST_DEFAULTS for keys that it lacks.

    And the full names of those that aren't `known` (any more, or yet), which are left out.
    """
    found = {}
    for name, value in flatten(values).items():
        name = KEYS.get(name, name)
        found[name] = value_now(name, value)
    whole = {name: value for name, value in (FIRST_DEFAULTS | found).items() if name in known}
    return unflatten(whole), sorted(found.keys() - known)


def flatten(values: dict, prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def unflatten(flat: dict[str, Any]) -> dict:
    nested: dict = {}
    for full, value in flat.items():
        *groups, name = full.split(".")
        place = nested
        for group in groups:
            place = place.setdefault(group, {})
        place[name] = value
    return nested


def value_now(name: str, value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [value_now(name, element) for element in value]
    return VALUES.get((name, value), value)


def first_form(name: str, value: Any, default: Any) -> tuple[str, Any, Any]:
    """A key, its value and its default as the first version that had the key wrote them."""
    names = [before for before, now in KEYS.items() if now == name]
    default = FIRST_DEFAULTS.get(name, default)
    return names[0] if names else name, first_value(name, value), first_value(name, default)


def first_value(name: str, value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [first_value(name, element) for element in value]
    values = [before for (key, before), now in VALUES.items() if (key, now) == (name, value)]
    return values[0] if values else value
