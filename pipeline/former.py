"""Settings as former versions had them: names, values and defaults that have changed since.

A run keeps its settings in config.yaml under the names of its day. Whoever renames a key or a value, or changes a
default, adds an entry here: older runs are then read as they were meant, and no recipe's hash changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# former full name -> names now: several where a key was divided
KEYS: dict[str, tuple[str, ...]] = {
    "loss.identity": ("losses.identity.weight",),
    "loss.label_smoothing": ("losses.identity.label_smoothing",),
    "loss.intra": ("losses.intra.weight",),
    "loss.intra_modalities": ("losses.intra.modalities",),
    "loss.cross": ("losses.cross.weight",),
    "loss.cross_pairs": ("losses.cross.pairs",),
    "loss.margin": ("losses.intra.margin", "losses.cross.margin"),
    "loss.reduction": ("losses.intra.reduction", "losses.cross.reduction"),
    "loss.mining": ("method.mining",),
    "augment.flip": ("augment.hflip_prob",),
    "augment.erasing": ("augment.random_erasing_prob",),
    "augment.erasing_area": ("augment.random_erasing_area",),
    "augment.erasing_aspect": ("augment.random_erasing_aspect",),
    "loader.on_bad_image": ("loader.on_corrupt_image",),
    "optimizer.backbone_factor": ("optimizer.backbone_lr_mult",),
    "optimizer.decay": ("optimizer.lr_decay",),
    "optimizer.warmup_epochs": ("optimizer.warmup",),
    "optimizer.clip": ("optimizer.clip_grad_norm",),
    "train.accumulate": ("train.grad_accum_steps",),
    "evaluation.reading": ("evaluation.protocol_variant",),
}

# (full name now, former value, or element of a list) -> value now
VALUES: dict[tuple[str, Any], Any] = {("train.norm", "synchronised"): "auto"}
# so do names of derivations, whatever probability stands behind them
DERIVATIONS = {"grey": "gray", "weighted_grey": "weighted_gray", "gamma_grey": "gamma_gray"}
DERIVATIONS |= {"pseudo_colour": "pseudo_color"}
VALUES |= {(f"derive.{of}", was): now for of in ("visible", "infrared") for was, now in DERIVATIONS.items()}

# Full name now -> what a training did at first where the key wasn't given: the first default, where it has changed
# since, or what was done before there was the key, where that isn't the default.
FIRST_DEFAULTS: dict[str, Any] = {
    "model.backbone": "resnet50",
    "model.pooling": "gem",
    "augment.mean": [0.485, 0.456, 0.406],  # ImageNet's, for every backbone
    "augment.std": [0.229, 0.224, 0.225],
}
# (full name now, value that came later) -> the first value, for which it stands in all recipes of that day. A run keeps
# what it stands for in its own network (`Method.resolved`).
LATER_VALUES: dict[tuple[str, Any], Any] = {("model.pooling", "auto"): "gem"}


# how names of tensors in a run's weights began -> how they begin now
TENSORS = {"neck.": "heads.global.neck.", "classifier.": "heads.global.classifier."}
LAYERS = {".to_grey.": ".to_gray.", ".to_colour.": ".to_color."}  # in names of tensors


def tensor_now(name: str) -> str:
    """Returns the name of a tensor of a run's weights as it is now."""
    for before, now in LAYERS.items():
        name = name.replace(before, now)
    return next((now + name.removeprefix(before) for before, now in TENSORS.items() if name.startswith(before)), name)


# Stands for a dot within a name, such as that of a module of the backbone: {stages.2.blocks: 1}. No YAML can hold it.
DOT = "\0"


def read(values: dict, known: Callable[[str], bool]) -> tuple[dict, list[str]]:
    """Returns the values of a kept config.yaml by the current names, with FIRST_DEFAULTS for keys that it lacks.

    And the full names of those that aren't `known` (any more, or yet), which are left out.
    """
    found = {}
    for before, value in flatten(values).items():
        for name in KEYS.get(before, (before,)):
            found[name] = value_now(name, value)
    whole = {name: value for name, value in (FIRST_DEFAULTS | found).items() if known(name)}
    return unflatten(whole), sorted(name.replace(DOT, ".") for name in found if not known(name))


def flatten(values: dict, prefix: str = "") -> dict[str, Any]:
    """Returns the values of nested mappings by full name, in which DOT stands for a dot of a name's own."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        full = f"{prefix}{str(name).replace('.', DOT)}"
        if isinstance(value, dict):
            flat |= flatten(value, f"{full}.")
        else:
            flat[full] = value
    return flat


def unflatten(flat: dict[str, Any]) -> dict:
    """Returns nested mappings of values by full name."""
    nested: dict = {}
    for full, value in flat.items():
        *groups, name = full.split(".")
        place = nested
        for group in groups:
            place = place.setdefault(group.replace(DOT, "."), {})
        place[name.replace(DOT, ".")] = value
    return nested


def value_now(name: str, value: Any) -> Any:
    return exchanged(name, value, VALUES)


def exchanged(name: str, value: Any, values: dict[tuple[str, Any], Any]) -> Any:
    """Returns a value of a key, or a list of them, with those among `values` exchanged; `:<probability>` stays."""
    if isinstance(value, (list, tuple)):
        return [exchanged(name, element, values) for element in value]
    first, colon, rest = value.partition(":") if isinstance(value, str) else (value, "", "")
    found = values.get((name, first), first) if not isinstance(first, dict) else first
    return f"{found}{colon}{rest}" if colon else found


def first_forms(values: dict[str, Any]) -> dict[str, Any]:
    """Returns values by full name as the first version that had the keys wrote them.

    A key that was divided stands under its former name where its parts agree, else under the current names.
    """
    former = {name: before for before, names in KEYS.items() for name in names}
    first = {}
    for name, value in values.items():
        before = former.get(name, name)
        agree = all(values.get(other, value) == value for other in KEYS.get(before, ()))
        first[before if agree else name] = first_value(name, value)
    return first


def first_value(name: str, value: Any) -> Any:
    earlier = exchanged(name, value, LATER_VALUES)
    return exchanged(name, earlier, {(key, now): before for (key, before), now in VALUES.items()})
