"""Matches the tensors of a file with those of a backbone by order and shape, where both have names of their own.

Implementations of one architecture define its layers in the order in which they are used, whatever they call them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import torch
from torch import nn

from pipeline.models.weights.by_name import Fit, Tensors, convert, fit_of, prefixes, under
from pipeline.models.weights.origin import HEADS, is_resampled

Signature = tuple[int | str, ...]

LEAVES = ("weight", "bias", "running_mean", "running_var")  # called so by all
REST = 4  # tensors of a last norm and a classifier that may follow


def fit_by_order(backbone: nn.Module, wanted: Tensors, tensors: Tensors, enough: Callable[[Fit], bool]) -> Fit | None:
    """Returns a fit in which each of the backbone's `wanted` tensors has one of the file; None where there is none.

    Tensors of a shape that is there once in both may stand anywhere, as class tokens do; position embeddings may have
    another size; all others have to be in the same order.
    """
    for prefix in prefixes(tensors, len(wanted)):
        found = under(tensors, prefix)
        if len({name.split(".")[0] for name in found}) == 1:
            continue  # the same tensors have a longer prefix
        without_heads = {name: tensor for name, tensor in found.items() if name.split(".")[0] not in HEADS}
        for state in (found, without_heads):
            pairs = pair_by_order(wanted, state)
            if pairs is None:
                continue
            renamed = {name: reshaped(state[other], wanted[name]) for name, other in pairs.items()}
            fit = fit_of(wanted, convert(backbone, renamed), prefix, pairs)
            if enough(fit):
                return fit
    return None


def pair_by_order(wanted: Tensors, found: Tensors) -> dict[str, str] | None:
    """Returns the name in `found` for each name in `wanted`; None where one has none."""
    ours = {name: signature(name, tensor) for name, tensor in wanted.items()}
    theirs = {name: signature(name, tensor) for name, tensor in found.items()}
    known, once = set(ours.values()), unique(ours) & unique(theirs)
    place_of = {theirs[name]: name for name in theirs if theirs[name] in once}
    pairs = {name: place_of[shape] for name, shape in ours.items() if shape in once}
    in_order = [name for name in ours if name not in pairs]
    others = [name for name, shape in theirs.items() if shape in known - once]
    if not 0 <= len(others) - len(in_order) <= REST:
        return None
    pairs |= dict(zip(in_order, others, strict=False))
    alike = all(ours[name] == theirs[other] and same_leaf(name, other) for name, other in pairs.items())
    return pairs if alike else None


def signature(name: str, tensor: torch.Tensor) -> Signature:
    """Returns what a tensor has in every implementation: its shape without ones at the end."""
    if is_resampled(name):
        return ("resampled", tensor.ndim)
    shape = list(tensor.shape)
    while shape and shape[-1] == 1:  # a 1x1 convolution is a linear layer
        shape.pop()
    return tuple(shape)


def unique(signatures: dict[str, Signature]) -> set[Signature]:
    return {shape for shape, count in Counter(signatures.values()).items() if count == 1}


def same_leaf(name: str, other: str) -> bool:
    """Whether the last parts of two names agree, where both are common ones."""
    leaves = [one.rpartition(".")[2] for one in (name, other)]
    return leaves[0] == leaves[1] or not set(leaves) <= set(LEAVES)


def reshaped(tensor: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    return tensor.reshape(own.shape) if tensor.numel() == own.numel() else tensor
