"""Reads files of torch.save that hold other objects than tensors, without importing or calling any of them.

torch's own reader (`weights_only`) refuses such files as a whole, though the arguments of a script, counts of NumPy or
a framework's settings often lie beside the tensors. Here every class and function in a file but those that make tensors
is replaced by a stand-in that does nothing.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

# All that a file may call. Each makes tensors, or holds them.
ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): torch.Size,
    ("torch._utils", "_rebuild_tensor"): torch._utils._rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
} | {("torch", name): value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}


class Inert(dict):
    """An object of a class that was not imported: keeps the items and attributes it is given, and does nothing."""

    __hash__ = object.__hash__  # type: ignore[assignment]  # it may be the key of a mapping

    def __new__(cls, *arguments: object, **named: object) -> Inert:
        return super().__new__(cls)

    def __init__(self, *arguments: object, **named: object) -> None:
        super().__init__()

    def __call__(self, *arguments: object, **named: object) -> Inert:
        return Inert()

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):  # a module that was saved whole has its tensors here
            self.update(state)

    def append(self, element: object) -> None:
        """Drops an element of what was a list."""

    def extend(self, elements: object) -> None:
        """Drops elements of what was a list."""

    def add(self, element: object) -> None:
        """Drops an element of what was a set."""


class InertUnpickler(pickle.Unpickler):
    """Finds what is ALLOWED, and a stand-in for everything else."""

    def find_class(self, module: str, name: str) -> Any:
        return ALLOWED.get((module, name)) or type(name, (Inert,), {"__module__": module})


def load_inertly(path: Path) -> Any:
    """Returns what torch.save wrote to a file, with an `Inert` for each object that isn't a tensor or a plain value.

    Raises what torch and pickle raise for damaged files.
    """
    reader = SimpleNamespace(
        __name__="inert", Unpickler=InertUnpickler, load=lambda file, **options: InertUnpickler(file, **options).load()
    )
    # `weights_only` stands for torch's own unpickler: this one, in its place, calls even less.
    return torch.load(path, map_location="cpu", weights_only=False, pickle_module=reader)
