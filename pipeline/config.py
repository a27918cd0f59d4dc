"""From YAML files and `key=value` words to checked `Settings`, and back.

A file may name another as its `base:` (relative to itself), whose values it overrides. Several files are merged from
left to right, then the `key=value` words. `python -m pipeline.config [CONFIG ...] [key=value ...]` prints the result
with the meaning of every key.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline import former
from pipeline.datasets import dataset_of, trials_are_trainings
from pipeline.settings import Settings

# keys, or groups of keys, that say where a run is kept, how it is loaded and how it is judged
FREE = ("name", "output", "data.root", "data.test_split", "loader.", "evaluation.")
FREE += ("train.resume", "train.checkpoint_steps", "train.keep_checkpoints", "train.log_steps", "train.trackers")
# What comes of these depends on the launcher too: it is kept and compared by itself (pipeline.run.provenance).
FREE += ("train.precision", "train.norm")

log = logging.getLogger("pipeline")


def load_config(arguments: list[str], name_required: bool = False) -> Settings:
    """Command-line words -> settings.

    Words are overrides (`is_override`) or YAML files. ValueError or FileNotFoundError, one line, for a file that is
    missing or is not YAML, an unknown key (with the nearest right one) or a wrong type.
    """
    files = [Path(word) for word in arguments if not is_override(word)]
    overrides = [word for word in arguments if is_override(word)]
    if name_required and not files:
        raise ValueError("expected a configuration file, e.g. configs/demo.yaml; found none")
    layers = [(str(path), layer) for file in files for path, layer in read_layers(file)]
    settings = to_settings([*layers, *((word, parse_override(word)) for word in overrides)])
    dataset_of(settings.data.dataset)
    if settings.name is None:
        settings.name = default_name(files, settings)
    return settings


def load_kept(file: Path, overrides: Sequence[str] = ()) -> Settings:
    """The settings that a run keeps in `file`, whichever version wrote them, and `key=value` words on top.

    Settings that this version doesn't have are left out with a warning. Raises as `load_config` does.
    """
    values, unknown = read_kept(file)
    if unknown:
        log.warning(f"{file}: of another version; settings that this one doesn't have: {', '.join(unknown)}")
    return to_settings([(str(file), values), *((word, parse_override(word)) for word in overrides)])


def read_kept(file: Path) -> tuple[DictConfig, list[str]]:
    """The settings of a run's config.yaml by their names of now, and the names that this version doesn't have."""
    *_, (_, layer) = read_layers(file)
    values, unknown = former.read(OmegaConf.to_container(layer), {name for name, _, _ in describe(Settings())})
    return OmegaConf.create(values), unknown


def to_settings(layers: list[tuple[str, DictConfig]]) -> Settings:
    """Origins and values, each over those before it, over the defaults."""
    config = OmegaConf.structured(Settings)
    for origin, layer in layers:
        config = merge(config, layer, origin)
    settings = OmegaConf.to_object(config)
    assert isinstance(settings, Settings)
    refuse_out_of_range(settings)
    return settings


def is_override(word: str) -> bool:
    """Whether a command-line word is a `key=value`: it has a `=`, and no file has that name."""
    return "=" in word and not os.path.isfile(word)


def read_layers(file: Path, seen: tuple[Path, ...] = ()) -> list[tuple[Path, DictConfig]]:
    """A file and its bases, the outermost base first, each with its own keys only."""
    if file.resolve() in seen:
        raise ValueError(f"{file}: `base:` leads back to the file itself")
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such configuration file")
    try:
        values = yaml.safe_load(file.read_text()) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{file}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{file}: expected keys with values; found {type(values).__name__}")
    base = values.pop("base", None)
    bases = read_layers(file.parent / base, (*seen, file.resolve())) if base else []
    return [*bases, (file, OmegaConf.create(values))]


def parse_override(word: str) -> DictConfig:
    name, _, value = word.partition("=")
    try:
        return OmegaConf.from_dotlist([f"{name.lstrip('-')}={value}"])
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise ValueError(f"{word}: not a value: {' '.join(str(error).split())}") from None


def merge(config: DictConfig, layer: DictConfig, origin: str) -> DictConfig:
    """`layer` over `config`; `origin` (a file or an override) opens the message of a ValueError."""
    plain = OmegaConf.to_container(layer)
    refuse_unknown(plain, Settings, "", origin)
    list_single_words(plain, Settings())
    try:
        return OmegaConf.merge(config, plain)
    except OmegaConfBaseException as error:
        reason = str(error.msg or error).splitlines()[0]
        if "$VALUE" in reason:  # OmegaConf leaves its placeholders in when an element of a tuple is wrong
            reason = "a value of the wrong type in a list"
        where = f"{error.full_key}: " if error.full_key else ""
        raise ValueError(f"{origin}: {where}{reason}") from None


def refuse_unknown(values: dict, settings: type, prefix: str, origin: str) -> None:
    """ValueError naming the first key that `settings` doesn't have, and the nearest of all keys."""
    known = {field.name: field for field in dataclasses.fields(settings)}
    for name, value in values.items():
        full = f"{prefix}{name}"
        if name not in known:
            now = former.KEYS.get(full)
            raise ValueError(f"{origin}: unknown key {full}{f'; it is {now} now' if now else nearest_key(full)}")
        nested = known[name].default_factory
        if dataclasses.is_dataclass(nested):
            if not isinstance(value, dict):
                raise ValueError(f"{origin}: {full}: expected keys below it; found {value!r}")
            refuse_unknown(value, nested, f"{full}.", origin)


def list_single_words(values: dict, settings: Any) -> None:
    """`derive.visible=grey` -> `[grey]`: one word where a key takes a list of words is a list of it alone."""
    for name, value in values.items():
        default = getattr(settings, name)
        if dataclasses.is_dataclass(default):
            list_single_words(value, default)
        elif isinstance(default, list) and isinstance(value, str):
            values[name] = [value]


def refuse_out_of_range(settings: Any, prefix: str = "") -> None:
    """ValueError naming the first key whose value breaks the bounds that `settings.key` gave it."""
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        name = f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            refuse_out_of_range(value, f"{name}.")
            continue
        least, most, among = (field.metadata[bound] for bound in ("least", "most", "among"))
        for element in value if isinstance(value, (list, tuple)) else [value]:
            if among and element is not None and element not in among:
                raise ValueError(f"{name}: expected elements among {', '.join(among)}; found {element!r}")
            if least is not None and element is not None and not element >= least:
                raise ValueError(f"{name}: expected at least {least}; found {element}")
            if most is not None and element is not None and not element <= most:
                raise ValueError(f"{name}: expected at most {most}; found {element}")
        if among and value is not None and len(set(value)) != len(value):
            raise ValueError(f"{name}: expected each element once; found {value}")


def nearest_key(unknown: str) -> str:
    """`"; the nearest is data.root"`, or nothing when no key is near. A right last word in the wrong group counts."""
    names = [name for name, _, _ in describe(Settings())]
    last_word = unknown.rpartition(".")[2]
    near = difflib.get_close_matches(unknown, names, n=1, cutoff=0.75)
    near = near or [name for name in names if name.rpartition(".")[2] == last_word]
    near = near or [
        name for name in names if difflib.get_close_matches(last_word, [name.rpartition(".")[2]], cutoff=0.75)
    ]
    return f"; the nearest is {near[0]}" if near else "; `python -m pipeline.config` lists all keys"


def describe(settings: Any, prefix: str = "") -> list[tuple[str, Any, str]]:
    """Every key as (full name, value, meaning), in the order of `Settings`."""
    rows = []
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            rows += describe(value, f"{prefix}{field.name}.")
        else:
            rows.append((f"{prefix}{field.name}", value, field.metadata["meaning"]))
    return rows


def default_name(files: list[Path], settings: Settings) -> str:
    """`configs/regdb.yaml configs/ablation/b2.yaml seed=1` -> `regdb-b2-trial1-seed1`."""
    parts = [file.stem for file in files] or ["run"]
    parts += [f"trial{settings.data.trial}"] if trials_are_trainings(settings.data.dataset) else []
    parts += [f"seed{settings.seed}"] if settings.seed else []
    return "-".join(parts)


def to_yaml(settings: Settings) -> str:
    return OmegaConf.to_yaml(OmegaConf.structured(settings))


def decides_weights(name: str) -> bool:
    """Whether the weights a run ends with depend on a key; the others may change between the starts of a run."""
    return not name.startswith(FREE)


def config_hash(settings: Settings) -> str:
    """Eight hex digits that tell apart the configurations whose weights differ.

    Of the values that aren't the first defaults, under their first names (`pipeline.former`): neither a new key, nor a
    new name, nor a new default changes the hash of a training that stays what it was.
    """
    defaults = {name: value for name, value, _ in describe(Settings())}
    forms = [
        former.first_form(name, value, defaults[name]) for name, value, _ in describe(settings) if decides_weights(name)
    ]
    values = {name: value for name, value, default in forms if json.dumps(value) != json.dumps(default)}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]


def main(argv: list[str] | None = None) -> None:
    settings = load_config(sys.argv[1:] if argv is None else argv)
    for name, value, meaning in describe(settings):
        print(f"{name}: {json.dumps(value)}".ljust(48) + f" # {meaning}")


if __name__ == "__main__":
    main()
