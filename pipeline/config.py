"""From YAML files and `key=value` overrides to checked `Settings`, and back.

A file may name another as its `base:` (relative to itself), whose values it overrides. Several files are merged from
left to right, then the `key=value` overrides. `python -m pipeline.config [CONFIG ...] [key=value ...]` prints the
result with the help of every key.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import logging
import os
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline import former
from pipeline.layering import PART_GROUPS, begun_anew, check_parts, kinds_of_parts, names_method, unclaimed
from pipeline.parts import PartOptions, reason_of
from pipeline.settings import Settings
from pipeline.shipped import find_shipped

PARTS = ("method.", *(f"{group}." for group in PART_GROUPS))  # how the full names of keys of parts begin

log = logging.getLogger("pipeline")


def load_config(arguments: list[str], name_required: bool = False) -> Settings:
    """Returns the settings of command-line arguments.

    Arguments are overrides (`is_override`) or YAML files, the user's or shipped ones (`find_shipped`). Raises
    ValueError or FileNotFoundError, one line, for a file that is missing or is not YAML, an unknown key (with the
    nearest right one) or a wrong type.
    """
    files = [find_shipped(Path(argument)) for argument in arguments if not is_override(argument)]
    overrides = [argument for argument in arguments if is_override(argument)]
    if name_required and not files:
        raise ValueError("expected a configuration file, e.g. configs/demo.yaml; found none")
    layers = [layer for file in files for layer in layers_of(file)]
    settings = to_settings([*layers, *(Layer(argument, parse_override(argument)) for argument in overrides)])
    from pipeline.datasets import dataset_of  # here: it imports pandas, for which `--help` doesn't wait

    dataset = dataset_of(settings.data.dataset)
    if settings.name is None:
        settings = dataclasses.replace(settings, name=default_name(files, settings, dataset.trials_are_trainings))
    return settings


def load_kept(file: Path, overrides: Sequence[str] = ()) -> Settings:
    """Returns the settings that a run keeps in `file`, whichever version wrote them, with `key=value` overrides on top.

    Settings that this version doesn't have are left out with a warning. Raises as `load_config` does.
    """
    values, unknown = read_kept(file)
    if unknown:
        log.warning(f"{file}: of another version; settings that this one doesn't have: {', '.join(unknown)}")
    return to_settings(
        [Layer(str(file), values, True), *(Layer(argument, parse_override(argument)) for argument in overrides)]
    )


def read_kept(file: Path) -> tuple[DictConfig, list[str]]:
    """Returns the settings of a run's config.yaml by their current names, and the names this version doesn't have."""
    *_, (_, layer) = read_layers(file)
    values, unknown = former.read(to_dict(layer), is_known)
    return OmegaConf.create(values), unknown


def is_known(name: str) -> bool:
    """Whether there is a key of this full name; what parts have is checked when they are made."""
    return name.startswith((*PARTS, *free_mappings())) or name in default_names()


@functools.cache
def default_settings() -> Settings:
    """Returns the defaults. They are shared: code that changes its lists changes them for all."""
    return Settings()


@functools.cache
def default_names() -> frozenset[str]:
    """Returns the full names of all keys of the defaults."""
    return frozenset(name for name, _, _ in describe(default_settings()))


@functools.cache
def free_mappings() -> tuple[str, ...]:
    """Returns how the full names begin of what stands in a mapping whose keys are the user's, such as model.kwargs."""
    return tuple(f"{name}." for name, value, _ in describe(default_settings()) if isinstance(value, dict))


class Layer(NamedTuple):
    """Values of a configuration; `origin`, a file or an override, opens messages about them.

    varies: a method that it names is a variety of that of its base, not another.
    """

    origin: str
    values: DictConfig
    is_file: bool = False
    varies: bool = False


def layers_of(file: Path) -> list[Layer]:
    """Returns the layers of a file and its bases. The first that names a method begins one; the others vary it."""
    layers: list[Layer] = []
    for path, values in read_layers(file):
        varies = any(names_method(to_dict(layer.values)) for layer in layers)
        layers.append(Layer(str(path), values, is_file=True, varies=varies))
    return layers


def to_settings(layers: Sequence[Layer]) -> Settings:
    """Returns the values of the layers, each over those before it, over the defaults."""
    config = OmegaConf.structured(Settings)
    for layer in layers:
        config = merge(config, layer)
    settings = OmegaConf.to_object(config)
    assert isinstance(settings, Settings)
    check_ranges(settings)
    return settings


def is_override(argument: str) -> bool:
    """Whether a command-line argument is a `key=value`: it has a `=`, and no file has that name."""
    return "=" in argument and not os.path.isfile(argument)


def read_layers(file: Path, seen: tuple[Path, ...] = ()) -> list[tuple[Path, DictConfig]]:
    """Returns a file and its bases, the outermost base first, each with its own keys only."""
    if file.resolve() in seen:
        raise ValueError(f"{file}: `base:` leads back to the file itself")
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such configuration file")
    try:
        values = OmegaConf.load(file)  # as overrides are read: by YAML's own rules 1e-6, without a point, is a text
    except yaml.YAMLError as error:
        raise ValueError(f"{file}: not YAML: {' '.join(str(error).split())}") from None
    except OSError as error:  # also of a file that holds a single number
        raise ValueError(f"{file}: can't be read as keys with values: {error}") from None
    if not isinstance(values, DictConfig):
        raise ValueError(f"{file}: expected keys with values; found a list")
    base = values.pop("base", None)
    bases = read_layers(file.parent / base, (*seen, file.resolve())) if base else []
    return [*bases, (file, values)]


def parse_override(argument: str) -> DictConfig:
    """Returns the values of a `key=value`. Raises ValueError where the value isn't YAML."""
    name, _, value = argument.partition("=")
    try:
        return OmegaConf.from_dotlist([f"{name.lstrip('-')}={value}"])
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise ValueError(f"{argument}: not a value: {' '.join(str(error).split())}") from None


def merge(config: DictConfig, layer: Layer) -> DictConfig:
    """Returns the layer over `config`, which is of no use any more.

    Raises ValueError where the layer has an unknown key or a value that doesn't fit.
    """
    plain = to_dict(layer.values)
    check_known(plain, Settings, "", layer.origin)
    list_single_values(plain, default_settings())
    try:
        config = begun_anew(config, plain, layer.varies) if layer.is_file else config
        check_parts(config, plain)
        kinds = kinds_of_parts(config)
        merged = put_over(config, plain)
        if {"method", *PART_GROUPS} & plain.keys():
            OmegaConf.to_object(merged)  # makes the parts, which check their keys
            if not names_method(plain) and kinds_of_parts(merged) != kinds:
                merged = unclaimed(merged, plain)
    except OmegaConfBaseException as error:
        where = f"{error.full_key}: " if error.full_key else ""
        raise ValueError(f"{layer.origin}: {where}{reason_of(error)}") from None
    except ValueError as error:
        raise ValueError(f"{layer.origin}: {error}") from None
    return merged


def to_dict(values: DictConfig) -> dict:
    """Returns the values as plain dictionaries and lists."""
    plain = OmegaConf.to_container(values)
    assert isinstance(plain, dict)
    return plain


def put_over(config: DictConfig, values: dict) -> DictConfig:
    """Returns the values over `config`, which is of no use any more. Raises OmegaConf's errors where they don't fit."""
    merged = OmegaConf.unsafe_merge(config, values)
    assert isinstance(merged, DictConfig)
    return merged


def check_known(values: dict, settings: type, prefix: str, origin: str) -> None:
    """Raises ValueError naming the first key that `settings` doesn't have, and the nearest of all keys."""
    known, kinds = {field.name: field for field in dataclasses.fields(settings)}, type_hints(settings)
    for name, value in values.items():
        full = f"{prefix}{name}"
        if name not in known:
            raise ValueError(f"{origin}: unknown key {full}{renamed_keys(full, value) or nearest_key(full)}")
        nested = known[name].default_factory
        if dataclasses.is_dataclass(nested):
            if not isinstance(value, dict):
                raise ValueError(f"{origin}: {full}: expected keys below it; found {value!r}")
            check_known(value, nested, f"{full}.", origin)
        if not known[name].metadata["parts"] and not known[name].metadata["part"]:  # which say themselves what they are
            check_shape(value, kinds[name], f"{origin}: {full}")


@functools.cache
def type_hints(settings: type) -> dict[str, Any]:
    return typing.get_type_hints(settings)


def check_shape(value: Any, kind: Any, place: str) -> None:
    """Raises ValueError where a list isn't as long as its key's tuple, or isn't a mapping as its key is.

    OmegaConf would name no key.
    """
    if typing.get_origin(kind) is dict and not isinstance(value, dict):
        raise ValueError(f"{place}: expected names with values; found {value!r}")
    tuples = [one for one in (kind, *typing.get_args(kind)) if typing.get_origin(one) is tuple]
    if tuples and isinstance(value, list) and len(value) != (expected := len(typing.get_args(tuples[0]))):
        raise ValueError(f"{place}: expected {expected} values; found {len(value)}")


def renamed_keys(unknown: str, value: Any) -> str:
    """Returns `"; loss.margin is losses.intra.margin and losses.cross.margin now"`, or "" for names that never were
    keys."""
    names = former.flatten(value, f"{unknown}.") if isinstance(value, dict) else [unknown]
    renamed = [f"{name} is {' and '.join(former.KEYS[name])} now" for name in names if name in former.KEYS]
    return "".join(f"; {line}" for line in renamed)


def list_single_values(values: dict, settings: Any) -> None:
    """Makes lists of single values, in place: `derive.visible=gray` is `[gray]`, as the key takes a list of names."""
    for name, value in values.items():
        default = getattr(settings, name)
        if isinstance(default, PartOptions):
            continue
        if dataclasses.is_dataclass(default):
            list_single_values(value, default)
        elif isinstance(default, list) and isinstance(value, str):
            values[name] = [value]


def check_ranges(settings: Any) -> None:
    """Raises ValueError naming the first key whose value breaks the bounds that `settings_key.key` gave it."""
    for name, value, field in fields_of(settings):
        low, high, choices = (field.metadata[bound] for bound in ("min", "max", "choices"))
        for element in value if isinstance(value, (list, tuple)) else [value]:
            if choices and element is not None and element not in choices:
                raise ValueError(f"{name}: expected elements among {', '.join(choices)}; found {element!r}")
            if low is not None and element is not None and not element >= low:
                raise ValueError(f"{name}: expected at least {low}; found {element}")
            if high is not None and element is not None and not element <= high:
                raise ValueError(f"{name}: expected at most {high}; found {element}")
        if choices and value is not None and len(set(value)) != len(value):
            raise ValueError(f"{name}: expected each element once; found {value}")


def nearest_key(unknown: str) -> str:
    """Returns `"; the nearest is data.root"`, or where to look when no key is near.

    The right name in another group counts.
    """
    names = sorted(default_names())
    last_part = unknown.rpartition(".")[2]
    near = difflib.get_close_matches(unknown, names, n=1, cutoff=0.75)
    near = near or [name for name in names if name.rpartition(".")[2] == last_part]
    near = near or [
        name for name in names if difflib.get_close_matches(last_part, [name.rpartition(".")[2]], cutoff=0.75)
    ]
    return f"; the nearest is {near[0]}" if near else "; `python -m pipeline.config` lists all keys"


def fields_of(settings: Any, prefix: str = "") -> Iterator[tuple[str, Any, dataclasses.Field]]:
    """Yields every key as (full name, value, its field), in the order of `Settings`, those of parts included."""
    for field in dataclasses.fields(settings):
        value, name = getattr(settings, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            yield from fields_of(value, f"{name}.")
        elif field.metadata["parts"] or (
            isinstance(value, dict) and any(map(dataclasses.is_dataclass, value.values()))
        ):
            for part, of_part in value.items():
                yield from fields_of(of_part, f"{name}.{part}.")
        else:
            yield name, value, field


def describe(settings: Any) -> list[tuple[str, Any, str]]:
    """Returns every key as (full name, value, help), in the order of `Settings`."""
    return [(name, value, field.metadata["help"]) for name, value, field in fields_of(settings)]


def default_name(files: list[Path], settings: Settings, trials_are_trainings: bool) -> str:
    """Returns `regdb-b2-trial1-seed1` for `configs/regdb.yaml configs/ablation/b2.yaml seed=1`."""
    parts = [file.stem for file in files] or ["run"]
    parts += [f"trial{settings.data.trial}"] if trials_are_trainings else []
    parts += [f"seed{settings.seed}"] if settings.seed else []
    return "-".join(parts)


def to_yaml(settings: Settings) -> str:
    return OmegaConf.to_yaml(OmegaConf.structured(settings))


if __name__ == "__main__":
    from pipeline.cli.console import run_module

    run_module("config")
