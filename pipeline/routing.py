"""Routes rows of a batch to the module of their group and back, without a device sync."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import groupby
from typing import TypeVar

import torch
from torch import nn

Key = TypeVar("Key", bound=Hashable)


def runs_of(keys: Sequence[Key]) -> list[tuple[Key, int]]:
    """Returns runs of equal keys: ``"aab"`` -> ``[("a", 2), ("b", 1)]``."""
    return [(key, len(list(run))) for key, run in groupby(keys)]


def rows_of(tensor: torch.Tensor, runs: Sequence[tuple[Hashable, int]], key: Hashable) -> torch.Tensor:
    """Returns the rows of one key, in order: a view where they form one run, else a copy. No rows: an empty tensor."""
    pieces = tensor.split([length for _, length in runs]) if runs else ()
    return _join([piece for piece, (found, _) in zip(pieces, runs, strict=True) if found == key] or [tensor[:0]])


def apply_by_key(
    images: torch.Tensor,
    runs: Sequence[tuple[str, int]],
    modules: nn.ModuleDict | Mapping[str, Callable[[torch.Tensor], torch.Tensor]],
) -> torch.Tensor:
    """Passes each row through the module of its key; the output's rows are in the order of the input's.

    A module is called once with all its rows (batch norm sees them together), a module without rows is not called.
    The order of calls is that of `modules`, the same on every process (synchronized batch norm relies on it). Rows are
    split into runs rather than selected by an index: nothing is copied to the device, and the memory format is kept.
    """
    outputs = {}
    for key in modules:
        lengths = [length for found, length in runs if found == key]
        if lengths:
            outputs[key] = iter(modules[key](rows_of(images, runs, key)).split(lengths))
    return _join([next(outputs[key]) for key, _ in runs])


def _join(pieces: list[torch.Tensor]) -> torch.Tensor:
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def by_name(where: str, made: Mapping[str, nn.Module]) -> nn.ModuleDict:
    """Returns the modules by name. Raises ValueError naming the key of one whose name can't be."""
    modules = nn.ModuleDict()
    for name, module in made.items():
        try:
            modules[name] = module
        except (KeyError, TypeError) as error:  # a name with a dot, or that of a method of torch's
            raise ValueError(f"{where}.{name}: choose another name: {error}") from None
    return modules
