"""What a layer of a configuration does to the method that the layers before it made."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf, read_write

from pipeline.settings import DEFAULT_HEADS, DEFAULT_METHOD, DEFAULT_NAME
from pipeline.text import nearest

PART_GROUPS = ("inserts", "heads", "losses")
CHANGED = ", changed"  # behind the name of a method with other parts than its file gave it


def check_parts(config: DictConfig, layer: dict[str, Any]) -> None:
    """Raises ValueError where a layer's parts aren't given by name, or one is taken away that isn't there."""
    if not isinstance(layer.get("method", {}), dict):
        raise ValueError(f"method: expected the keys of a method; found {layer['method']!r}")
    for group in PART_GROUPS:
        named = layer.get(group, {})
        if not isinstance(named, dict):
            raise ValueError(f"{group}: expected parts by name, as {{NAME: {{...}}}}; found {named!r}")
        there = [str(name) for name, part in config[group].items() if part is not None]
        for name, part in named.items():
            if part is None and name not in there:
                hint = nearest(str(name), there) or f"; there are: {', '.join(there) or 'none'}"
                raise ValueError(f"{group}.{name}: null takes a part away, and there is none of this name{hint}")


def begun_anew(config: DictConfig, layer: dict, varies: bool) -> DictConfig:
    """Returns `config`, changed: without what was given of another method or optimizer, where a file's layer names its
    own.

    varies: the layer's method is a variety of the one before, and has its parts.
    """
    with read_write(config):
        if names_method(layer) and not varies:  # each whole: another type of part has other keys
            config["method"] = DEFAULT_METHOD
            config["inserts"], config["losses"] = {}, {}
            config["heads"] = {} if "heads" in layer else DEFAULT_HEADS
    if "name" in layer.get("optimizer", {}):
        with read_write(config["optimizer"]):
            config["optimizer"]["kwargs"] = {}
    return config


def names_method(layer: dict) -> bool:
    return isinstance(layer.get("method"), dict) and "name" in layer["method"]


def kinds_of_parts(config: DictConfig) -> dict[str, str]:
    """Returns the type of every part by its full name."""
    named = ((f"{group}.{name}", name, part) for group in PART_GROUPS for name, part in config[group].items())
    return {full: part.get("type") or name for full, name, part in named if part is not None}


def unclaimed(config: DictConfig, layer: dict) -> DictConfig:
    """Returns `config`, whose method has other parts than its file gave it: its name says so, it follows no source and
    is no published one, unless the layer says otherwise."""
    given, name = layer.get("method") or {}, config["method"].get("name") or DEFAULT_NAME
    claims = {"name": f"{name.removesuffix(CHANGED)}{CHANGED}", "source": None, "published": None}
    merged = OmegaConf.merge(config, {"method": claims | given})
    assert isinstance(merged, DictConfig)
    return merged
