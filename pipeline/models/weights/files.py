"""From a file of tensors, of whatever wrapping, to its tensors by name."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from pipeline.models.weights.errors import first_line
from pipeline.models.weights.inert import Inert, load_inertly

OF_MODULES = ("_modules", "_parameters", "_buffers")  # where a module that was saved whole has its parts


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Returns the tensors of floats in a .safetensors file or one of torch.save, by their full names in it.

    Mappings in mappings are part of the names: `state_dict.module.conv1.weight`. Nothing in the file is executed.
    Raises ValueError in one line where it can't be read or holds no tensors by name.
    """
    try:
        content = load_file(path) if path.suffix == ".safetensors" else load(path)
    except Exception as error:  # each format's reader has its own kinds
        raise ValueError(f"weights: {path} holds no weights that can be read ({first_line(error)})") from error
    tensors = {name: tensor for name, tensor in walk(content) if tensor.is_floating_point()}
    if not tensors:
        kind = type(content)
        found = f"{kind.__module__}.{kind.__qualname__}" if isinstance(content, Inert) else kind.__name__
        raise ValueError(f"weights: {path} holds no weights: expected tensors by name; found {found}")
    return tensors


def load(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # what it can't read is read below
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # it holds other objects too
        return load_inertly(path)


def walk(content: object, prefix: str = "", above: tuple[int, ...] = ()) -> Iterator[tuple[str, torch.Tensor]]:
    """Yields the tensors in nested mappings and in modules that were saved whole, with their full names."""
    if not isinstance(content, Mapping) or id(content) in above:  # an object may hold itself
        return
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, torch.Tensor):
            yield name, value.detach()
        else:
            yield from walk(value, prefix if key in OF_MODULES else f"{name}.", (*above, id(content)))
