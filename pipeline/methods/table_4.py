"""The ticks of the paper's table 4: the modalities and losses of the base-derivative method that a run trains with."""

from __future__ import annotations

import json
from typing import Any

from pipeline.config import default_settings, describe
from pipeline.settings import Settings

PAIRS = {
    frozenset(("infrared", "visible")): "mdl_i_v",
    frozenset(("visible", "infrared_derived")): "mdl_v_di",
    frozenset(("infrared", "visible_derived")): "mdl_i_dv",
    frozenset(("infrared_derived", "visible_derived")): "mdl_di_dv",
}
COLUMNS = ("infrared", "visible", "infrared_derived", "visible_derived", "id", "mml", *PAIRS.values())
# Keys that may differ from the paper's method without making it another: those that the columns tell,
TOLD = (
    "batch.modalities",
    "losses.identity.weight",
    "losses.intra.weight",
    "losses.cross.weight",
    "losses.cross.pairs",
)
# and those of weights and data, of where and how it is trained and tested. Any other key decides, new ones included.
FREE: tuple[str, ...] = (
    "name",
    "output",
    "seed",
    "method.name",
    "method.source",
    "method.mining",
    "data.",
    "batch.",
    "augment.",
    "loader.",
    "optimizer.",
)
FREE += ("train.", "evaluation.", "model.pretrained", "model.weights", "model.grad_checkpointing")


def ticks(settings: Settings) -> dict[str, bool]:
    """Returns whether each of COLUMNS is used. Raises ValueError, which says what differs, for another method."""
    other = differences(settings)
    if other:
        shown = [*other[:3], f"{len(other) - 3} more"] if len(other) > 3 else other
        raise ValueError(f"isn't the method of table 4: {', '.join(shown)}")
    losses, used = settings.losses, set(settings.batch.modalities)
    weight = {name: losses[name].weight if name in losses else 0.0 for name in ("identity", "intra", "cross")}
    pairs = {frozenset(pair) for pair in losses["cross"].pairs} if weight["cross"] else set()
    if pairs - PAIRS.keys():
        first = ", ".join(sorted(next(iter(pairs - PAIRS.keys()))))
        raise ValueError(f"losses.cross.pairs: table 4 has no column for {first}")
    if set(weight.values()) - {0.0, 1.0}:
        raise ValueError(f"isn't the method of table 4, whose losses have weight 1: found {weight}")
    used |= {name for name, term in (("id", "identity"), ("mml", "intra")) if weight[term]}
    used |= {PAIRS[pair] for pair in pairs}
    return {name: name in used for name in COLUMNS}


def differences(settings: Settings) -> list[str]:
    """Returns `key=value` of what decides a method and isn't as the paper's, which is the default."""
    paper, found, used = decisive(default_settings()), decisive(settings), settings.batch.modalities
    # of a part that the paper hasn't, its type says enough
    changed = [name for name in found if name in paper or name.endswith(".type")]
    changed = [name for name in changed if found[name] != paper.get(name) and counts(name, used)]
    # a loss that isn't there is one of weight 0, which the columns tell
    missing = [name for name in paper if name not in found and not name.startswith("losses.")]
    return [f"{name}={json.dumps(found[name])}" for name in changed] + [f"without {name}" for name in missing]


def decisive(settings: Settings) -> dict[str, Any]:
    """Returns the settings that decide a method, by full name, in one form for equal methods."""
    values = {name: value for name, value, _ in describe(settings) if not name.startswith((*TOLD, *FREE))}
    values["model.backbone"] = values["model.backbone"].partition(".")[0]  # the tag names weights
    if values["model.pooling"] == "gem":  # what the default stands for in the paper's network
        values["model.pooling"] = "auto"
    used = settings.batch.modalities
    if "intra" in settings.losses and set(settings.losses["intra"].modalities or used) == set(used):
        values["losses.intra.modalities"] = None
    return values


def counts(name: str, used: list[str]) -> bool:
    """Whether a key counts: how a derivative is made that isn't used doesn't."""
    derived = [modality for modality in used if modality.endswith("_derived")]
    group, _, key = name.partition(".")
    if group != "derive":
        return True
    return f"{key}_derived" in derived if key in ("visible", "infrared") else bool(derived)
