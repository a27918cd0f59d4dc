"""Finds the prefix under which a file has the names of a backbone, and converts names that timm knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module

import torch
from torch import nn

from pipeline.models.weights.origin import is_needed

Tensors = Mapping[str, torch.Tensor]

# Of equal networks in one file, the one that its authors evaluate: an average, or the teacher of a self-distillation.
PREFERRED = ("ema", "teacher")
CLIP = "class_embedding"  # of CLIP's image encoder, which timm knows as `visual`, whatever others call it


@dataclass(frozen=True)
class Fit:
    """Tensors of a file under the names of a backbone.

    prefix    in front of their names in the file
    state     name in the backbone -> tensor, and others that the file has
    fitting   names of the backbone's tensors that are there with the right shape
    pairs     name in the backbone -> name in the file, where tensors were matched by order; else the names are equal
    """

    prefix: str = ""
    state: Tensors = field(default_factory=dict)
    fitting: tuple[str, ...] = ()
    pairs: Mapping[str, str] = field(default_factory=dict)


def counted(backbone: nn.Module) -> dict[str, torch.Tensor]:
    """Returns the tensors of a backbone that a file should have: floats, without those of classifiers."""
    state = backbone.state_dict()
    return {name: tensor for name, tensor in state.items() if is_needed(name) and tensor.is_floating_point()}


def fit_of(wanted: Tensors, state: Tensors, prefix: str, pairs: Mapping[str, str] | None = None) -> Fit:
    """Returns the fit of tensors by the backbone's names."""
    fitting = [name for name, own in wanted.items() if name in state and state[name].shape == own.shape]
    return Fit(prefix, state, tuple(fitting), pairs or {})


def fit_by_name(backbone: nn.Module, wanted: Tensors, tensors: Tensors, enough: Callable[[Fit], bool]) -> Fit:
    """Returns the first fit that is `enough`, else the best: as the file has it, or converted by timm.

    The prefix with the most fitting names is tried first, with timm's conversion: it resamples position embeddings too.
    """
    direct = [fit_of(wanted, under(tensors, prefix), prefix) for prefix in prefixes(tensors, len(wanted) // 2)]
    best = Fit()
    for fit in sorted(direct, key=lambda one: -len(one.fitting)):  # equals stay in the order of `prefixes`
        converted = fit_of(wanted, convert(backbone, fit.state), fit.prefix)
        best = max(best, converted, fit, key=lambda one: len(one.fitting))
        if enough(best):
            break
    return best


def prefixes(tensors: Tensors, at_least: int) -> list[str]:
    """Returns the prefixes of so many names or more, up to a dot; those PREFERRED first, then as in the file."""
    counts: Counter[str] = Counter()
    for name in tensors:
        counts.update(prefixes_of(name))
    found = [prefix for prefix, count in counts.items() if count >= max(at_least, 1)]
    return sorted(found, key=lambda prefix: not is_preferred(prefix))


def prefixes_of(name: str) -> Iterator[str]:
    """Yields nothing, `a.` and `a.b.` for `a.b.c`."""
    parts = name.split(".")
    for depth in range(len(parts)):
        yield "".join(f"{part}." for part in parts[:depth])


def is_preferred(prefix: str) -> bool:
    return any(word in PREFERRED for word in prefix.lower().replace("_", ".").split("."))


def under(tensors: Tensors, prefix: str) -> dict[str, torch.Tensor]:
    """Returns the tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def convert(backbone: nn.Module, state: Tensors) -> Tensors:
    """Returns a state with the names of other projects and position embeddings of other sizes converted by timm.

    As it is where timm has no function for the family, or one that isn't for such a state.
    """
    function = getattr(import_module(type(backbone).__module__), "checkpoint_filter_fn", None)
    if function is None:
        return state
    if CLIP in state:
        state = {f"visual.{name}": tensor for name, tensor in state.items()}
    try:
        return function(dict(state), backbone)
    except Exception:  # it looks keys up and reshapes; a state of something else is told by what fits
        return state
