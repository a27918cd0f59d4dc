"""Which settings decide the weights that a training ends with, and a hash of them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from typing import Any

from pipeline import former
from pipeline.config import default_settings, fields_of
from pipeline.settings import Settings

# keys, or groups of keys, that say where a run is kept, how it is loaded and how it is evaluated
FREE: tuple[str, ...] = ("name", "output", "method.name", "method.source", "method.published")
FREE += ("data.root", "data.test_split", "loader.", "evaluation.")
FREE += ("train.resume", "train.checkpoint_steps", "train.keep_checkpoints", "train.log_steps", "train.image_steps")
FREE += ("train.trackers", "train.wandb_project", "validation.selection")
# The result of these depends on the launcher too; it is kept and compared by itself (pipeline.run.provenance).
FREE += ("train.precision", "train.norm")
FREE += ("model.grad_checkpointing",)  # computes the same numbers


def decides_weights(name: str) -> bool:
    """Whether the weights a run ends with depend on a key; the others may change between the starts of a run."""
    return not name.startswith(FREE)


def config_hash(settings: Settings) -> str:
    """Returns eight hex digits that tell apart the configurations whose weights differ.

    They are of the values that aren't the first defaults, under their first names (`pipeline.former`): neither a new
    key, nor a new name, nor a new default changes the hash of a training that stays what it was. A term of the default
    loss that isn't there counts as one of weight 0.
    """
    given = with_effect({name: value for name, value, _ in fields_of(settings)})
    # what is left to the backbone's weights was not a choice at first
    given |= {name: first for name, first in former.FIRST_DEFAULTS.items() if given.get(name, first) is None}
    defaults = {name: default_of(field) for name, _, field in fields_of(settings)}
    defaults |= {name: value for name, value, _ in fields_of(default_settings())} | former.FIRST_DEFAULTS
    given |= {name: 0.0 for name in defaults.keys() - given.keys() if name.endswith(".weight")}
    first, before = (former.first_forms(dict(filter_deciding(values))) for values in (given, defaults))
    values = {name: value for name, value in first.items() if json.dumps(value) != json.dumps(before.get(name))}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]


def with_effect(values: dict[str, Any]) -> dict[str, Any]:
    """Returns the values without those keys of validation that change nothing of the weights tested.

    How often and by which metric is validated matters where that may end the training or selects the weights.
    """
    without = [] if values["validation.identities"] else ["validation.seed"]
    if values["validation.patience"] is None and values["validation.selection"] == "last":
        without += ["validation.every_epochs", "validation.metric"]
    return {name: value for name, value in values.items() if name not in without}


def filter_deciding(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in values.items() if decides_weights(name))


def default_of(field: dataclasses.Field) -> Any:
    """Returns the default of a key; the type of a part has none."""
    if field.name == "type":
        return None
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
