"""Takes all that fits of a run's network into a new one: stems by name, inserts and heads, no classifiers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from pipeline import former
from pipeline.batch import Modality
from pipeline.models.taken import Taken
from pipeline.models.timm_model import Backbone
from pipeline.models.weights.origin import digest, is_resampled
from pipeline.weights_source import Source

Tensors = Mapping[str, torch.Tensor]
BASES = {modality.key: modality.base.key for modality in Modality}
FIRST = Modality.VISIBLE.key  # the stem that a network with one stem takes
INSERT, INSIDE = ".insert.", ".module."  # how an insert and what it follows are called


def read_run(file: Path) -> dict[str, torch.Tensor]:
    """Returns the tensors of a run's network by their current and `plain` names, whichever version wrote them.

    Raises ValueError where they can't be read.
    """
    try:
        tensors = {former.tensor_now(name): tensor for name, tensor in load_file(file).items()}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"weights: {file}: not the weights of a trained network: {error}") from None
    names = plain(tensors)
    return {names[name]: tensor for name, tensor in tensors.items()}


def plain(names: Iterable[str]) -> dict[str, str]:
    """Returns each name as it would be without inserts; those of the inserts themselves stay."""
    names = list(names)
    places = sorted({name.partition(INSERT)[0] for name in names if INSERT in name}, key=len, reverse=True)
    found = {}
    for name in names:
        without = name
        for place in places if INSERT not in name else ():  # the innermost first
            if without.startswith(f"{place}{INSIDE}"):
                without = f"{place}.{without.removeprefix(f'{place}{INSIDE}')}"
        found[name] = without
    return found


def plain_backbone(tensors: Tensors) -> dict[str, torch.Tensor]:
    """Returns the tensors of a run by the names of a bare backbone, with the visible stem in it."""
    stem, body = f"stems.{FIRST}.", "backbone."
    return {
        name.removeprefix(stem).removeprefix(body): tensor
        for name, tensor in tensors.items()
        if name.startswith((stem, body)) and INSERT not in name
    }


def load_run(network: nn.Module, backbone: Backbone, source: Source) -> Taken:
    """Loads all of a run's network that fits a new one by name and shape, in place; returns what was taken.

    Stems are mapped by name, classifiers are left. The backbone has its own already (`backbone.taken`), with position
    embeddings resampled. Sets `backbone.origin` to `run NAME <SHA-256>`, of the tensors taken.
    """
    tensors, own = read_run(source.file), network.state_dict()
    source_of = {name: find(new, tensors) for name, new in plain(own).items()}
    adapted = {name: adapt_channels(tensors[other], own[name]) for name, other in source_of.items() if other}
    fitting = {name: other for name, other in source_of.items() if other and adapted[name].shape == own[name].shape}
    network.load_state_dict({name: adapted[name] for name in fitting}, strict=False)
    in_it = backbone.taken.names if backbone.taken else ()
    resampled = {name for name in own if is_resampled(name) and name.removeprefix("backbone.") in in_it}
    wanted = [name for name, tensor in own.items() if tensor.is_floating_point() and not is_classifier(name)]
    names = [name for name in wanted if name in fitting or name in resampled]
    backbone.origin = f"{source.name} {digest(network, set(names))[:16]}"
    used = {*fitting.values(), *(source_of[name] for name in resampled)}
    left = [name for name in wanted if name not in names]
    left_of_run = [name for name, tensor in tensors.items() if name not in used and tensor.is_floating_point()]
    return Taken(source.name, "the network", names, left, left_of_run, kinds=("network", "run"))


def adapt_channels(kernel: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """Returns the first convolution's kernel of a network of color images for one of gray images, or the reverse: it
    gives the same for gray images. Any other tensor is returned as it is."""
    if kernel.ndim != 4 or kernel.shape[::2] != new.shape[::2] or {kernel.shape[1], new.shape[1]} != {1, 3}:
        return kernel
    return kernel.sum(dim=1, keepdim=True) if new.shape[1] == 1 else (kernel / 3).expand(-1, 3, -1, -1)


def find(name: str, tensors: Tensors) -> str | None:
    """Returns the name of a run's tensor for a tensor of a new network; None where there is none."""
    return next((other for other in sources(name) if other in tensors), None)


def sources(name: str) -> Iterator[str]:
    """Yields the names that a tensor may have in a run, the best first: in the same stem, in that of its captured
    modality, in the only one; for a network with one stem in the visible one."""
    if is_classifier(name):
        return
    yield name
    part, _, rest = name.partition(".")
    if part == "stems":
        stem, _, rest = rest.partition(".")
        yield f"stems.{BASES.get(stem, stem)}.{rest}"
        yield f"backbone.{rest}"
    elif part == "backbone":
        yield f"stems.{FIRST}.{rest}"


def is_classifier(name: str) -> bool:
    first, *others = name.split(".")
    return first == "heads" and "classifier" in others
