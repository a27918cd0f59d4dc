"""Inserts: modules put behind named places of the backbone, after its weights are loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from pipeline.models.timm_model import Backbone
from pipeline.parts import INSERTS, PartOptions, build_part
from pipeline.settings_key import key


@dataclass(frozen=True)
class InsertOptions(PartOptions):
    """The options of every insert. `at`: a new module of the insert follows each of these."""

    at: list[str] = key([], "modules of the backbone that one is put behind, by timm's names: [layer2.2, layer3]")


class Followed(nn.Module):
    """A module of the backbone and the insert behind it."""

    def __init__(self, module: nn.Module, insert: nn.Module) -> None:
        super().__init__()
        self.module, self.insert = module, insert

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.insert(self.module(*inputs))

    def __iter__(self) -> Iterator[nn.Module]:
        """Yields the layers of a stage, then the insert: timm's gradient checkpointing calls one after the other."""
        yield from cast(nn.Sequential, self.module)
        yield self.insert


def put_inserts(backbone: Backbone, inserts: Mapping[str, InsertOptions], height: int, width: int) -> None:
    """Puts the inserts of a configuration into a timm backbone, in place; images are `height` x `width` pixels.

    An insert is built from its settings and the number of channels behind its place. Of several at one place the first
    comes first. Raises ValueError naming the key where the backbone has no such place, or none with a map.
    """
    wanted = []
    for name, settings in inserts.items():
        if not settings.at:
            raise ValueError(f"inserts.{name}.at: expected one place or more, such as layer2.1; found none")
        wanted += [(place, f"inserts.{name}", settings) for place in settings.at]
    if not wanted:
        return
    channels = channels_behind(backbone, {place: where for place, where, _ in wanted}, height, width)
    # the innermost first: an insert changes the names of the modules inside its place
    for place, where, settings in sorted(wanted, key=lambda insert: -insert[0].count(".")):
        parent, _, child = place.rpartition(".")
        followed = Followed(backbone.get_submodule(place), build_part(INSERTS, settings, where, channels[place]))
        setattr(backbone.get_submodule(parent), child, followed)


def channels_behind(backbone: Backbone, places: Mapping[str, str], height: int, width: int) -> dict[str, int]:
    """Returns the channels of the map (B, C, h, w) that each module of the backbone returns; one image is passed
    through for all.

    places: name of the module -> key of the insert. Raises ValueError with the key where there is no such module, or it
    returns something else.
    """
    seen: dict[str, object] = {}
    listening = [
        module_at(backbone, place, where).register_forward_hook(
            lambda module, inputs, output, place=place: seen.update({place: output})
        )
        for place, where in places.items()
    ]
    was_training, checkpointing = backbone.training, getattr(backbone, "grad_checkpointing", False)
    backbone.eval()
    # with it some families call the layers of a stage one by one, and nobody hears the stage
    backbone.grad_checkpointing = False
    try:
        with torch.no_grad():
            backbone.forward_features(torch.zeros(1, 3, height, width))
    finally:
        for hook in listening:
            hook.remove()
        backbone.train(was_training)
        backbone.grad_checkpointing = checkpointing
    channels = {}
    for place, where in places.items():
        features = seen.get(place)
        if not isinstance(features, torch.Tensor) or features.ndim != 4:
            raise ValueError(
                f"{where}.at: expected a module that returns a map of places; {place} of the backbone doesn't"
            )
        if getattr(backbone, "output_fmt", "NCHW") == "NHWC":
            name = type(backbone).__name__
            raise ValueError(f"{where}.at: inserts are for maps (B, C, h, w); those of {name} are (B, h, w, C)")
        channels[place] = features.shape[1]
    return channels


def module_at(backbone: Backbone, place: str, where: str) -> nn.Module:
    """Returns a module of the backbone. Raises ValueError with the names there are where there is none."""
    try:
        return backbone.get_submodule(place)
    except AttributeError:
        inner = place
        while inner and inner not in dict(backbone.named_modules()):
            inner = inner.rpartition(".")[0]
        known = ", ".join(name for name, _ in backbone.get_submodule(inner).named_children())
        of = f"those in {inner}" if inner else "its own"
        raise ValueError(f"{where}.at: the backbone has no module {place!r}; {of} are {known}") from None
