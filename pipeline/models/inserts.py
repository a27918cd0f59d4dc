"""Inserts: modules put behind named places of the backbone, after its weights are loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from pipeline.models.stages import stages_of
from pipeline.models.taps import Tap
from pipeline.models.timm_model import Backbone
from pipeline.parts import INSERTS, PartOptions, build_part
from pipeline.settings_key import key


@dataclass(frozen=True)
class InsertOptions(PartOptions):
    """The options of every insert: a new module of it follows each place that they name.

    An insert is built from its options and the channels behind its place, and called with what stands there. One whose
    class has `sees_input` True is also built from the channels before its place, and called with the first input of the
    module that it follows. One whose class has `taps`, name -> `TapPlace`, is also built with the `MapSize` of these
    maps, of its own place or earlier ones, and called with them by name. One that returns more rows than it gets says
    how many for each in `copies`: below all rows stands a further version of all of them, and so on.
    """

    at: list[str] = key([], "modules of the backbone that one is put behind, by timm's names: [layer2.2, layer3]")
    last_blocks: dict[str, int] = key(
        {},
        "stages whose last blocks are each followed by one, as many as there are at most: {layer2: 2, layer3: 3}",
    )


class Followed(nn.Module):
    """A module of the backbone and the insert behind it, with the earlier maps that it sees."""

    def __init__(self, module: nn.Module, insert: nn.Module, taps: Mapping[str, Tap]) -> None:
        super().__init__()
        self.module, self.insert, self.taps = module, insert, dict(taps)
        self.sees_input = sees_input(insert)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        seen: list[torch.Tensor | dict[str, torch.Tensor]] = [self.module(*inputs)]
        if self.sees_input:
            seen.append(inputs[0])
        if self.taps:
            seen.append({name: tap.take() for name, tap in self.taps.items()})
        return self.insert(*seen)

    def __iter__(self) -> Iterator[nn.Module]:
        """Yields the layers of a stage, then the insert: timm's gradient checkpointing calls one after the other.

        An insert that sees the stage's input stays with it: both are one layer.
        """
        if self.sees_input:
            yield self
            return
        yield from cast(nn.Sequential, self.module)
        yield self.insert


def put_inserts(backbone: Backbone, inserts: Mapping[str, InsertOptions], height: int, width: int) -> None:
    """Puts the inserts of a configuration into a timm backbone, in place; images are `height` x `width` pixels.

    Of several at one place the first comes first. Raises ValueError naming the key where the backbone has no such
    place, none with a map, or none where rows can be multiplied.
    """
    wanted = [
        (place, where, name)
        for name, settings in inserts.items()
        for place, where in places_of(backbone, name, settings)
    ]
    if not wanted:
        return
    taps = {(place, name): put_taps(backbone, f"inserts.{name}", inserts[name]) for place, _, name in wanted}
    channels = channels_at(backbone, {place: where for place, where, _ in wanted}, height, width)
    between = stages_of(backbone)[:-1]
    # the innermost first: an insert changes the names of the modules inside its place
    for place, where, name in sorted(wanted, key=lambda insert: -insert[0].count(".")):
        parent, _, child = place.rpartition(".")
        of_place = taps[place, name]
        made = build_insert(inserts[name], f"inserts.{name}", channels[place], of_place)
        if copies_of(made) > 1:
            check_multiplied(place, where, name, between, [it for (_, it), tapped in taps.items() if tapped])
        setattr(backbone.get_submodule(parent), child, Followed(backbone.get_submodule(place), made, of_place))


def sees_input(insert: nn.Module | type[nn.Module]) -> bool:
    """Whether an insert, or its class, wants the input of the module that it follows."""
    return getattr(insert, "sees_input", False)


def copies_of(insert: nn.Module) -> int:
    """Returns how many rows an insert returns for each."""
    return getattr(insert, "copies", 1)


def check_multiplied(place: str, where: str, name: str, between: Sequence[str], tapping: Sequence[str]) -> None:
    """Raises ValueError with the key `where` for an insert that multiplies rows, where it can't stand there.

    between: places between stages; tapping: names of inserts that see earlier maps, which have fewer rows.
    """
    if place not in between:
        expected = f"stages before the last, some of {', '.join(between)}" if between else "a backbone with stages"
        raise ValueError(f"{where}: {name} multiplies the rows of a batch: expected {expected}; found {place}")
    if tapping:
        raise ValueError(f"{where}: {name} multiplies the rows of a batch, so {tapping[0]} can't see earlier maps")


def put_taps(backbone: Backbone, where: str, settings: InsertOptions) -> dict[str, Tap]:
    """Puts the taps that an insert's class wants into the backbone, in place; returns them by name, none for most.

    A tap of a module also sees what inserts inside it do, and nothing of those behind it. Raises ValueError with the
    key `where` for a module that isn't there, or where gradients are checkpointed, which computes maps a second time.
    """
    taps = {name: Tap(place, where) for name, place in getattr(INSERTS.find(settings.type), "taps", {}).items()}
    if taps and getattr(backbone, "grad_checkpointing", False):
        raise ValueError(f"{where}: reads earlier maps, which gradient checkpointing doesn't keep; set it to false")
    for tap in taps.values():
        module_at(backbone, tap.place.module, where).register_forward_hook(tap)
    return taps


def build_insert(settings: InsertOptions, where: str, channels: tuple[int, int], taps: Mapping[str, Tap]) -> nn.Module:
    """Returns an insert for a place with so many channels behind and before it, with its taps, which an image has just
    passed."""
    seen: list[object] = [*(channels if sees_input(INSERTS.find(settings.type)) else channels[:1])]
    if taps:
        seen.append({name: tap.take_size() for name, tap in taps.items()})
    return build_part(INSERTS, settings, where, *seen)


def places_of(backbone: Backbone, name: str, settings: InsertOptions) -> Iterator[tuple[str, str]]:
    """Yields the places that the options of an insert name, each with the key that does.

    Raises ValueError with the key where there is none, or a stage is not one.
    """
    if not (settings.at or settings.last_blocks):
        raise ValueError(f"inserts.{name}.at: expected one place or more, such as layer2.1; found none")
    for place in settings.at:
        yield place, f"inserts.{name}.at"
    for stage, count in settings.last_blocks.items():
        where = f"inserts.{name}.last_blocks"
        module = module_at(backbone, stage, where)
        if not isinstance(module, nn.Sequential):
            found = type(module).__name__
            raise ValueError(f"{where}: expected stages, each a Sequential of blocks; {stage} is a {found}")
        if count < 1:
            raise ValueError(f"{where}: expected 1 block of {stage} or more; found {count}")
        for block in [block for block, _ in module.named_children()][-count:]:
            yield f"{stage}.{block}", where


def channels_at(backbone: Backbone, places: Mapping[str, str], height: int, width: int) -> dict[str, tuple[int, int]]:
    """Returns the channels of the map (B, C, h, w) that each module of the backbone returns, and of what it takes; one
    image is passed through for all.

    places: name of the module -> key that names it. Raises ValueError with the key where there is no such module, or it
    returns something else.
    """
    seen: dict[str, tuple[object, torch.Tensor]] = {}
    listening = [
        module_at(backbone, place, where).register_forward_hook(
            lambda module, inputs, output, place=place: seen.update({place: (output, inputs[0])})
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
        features, taken = seen.get(place, (None, None))
        if not isinstance(features, torch.Tensor) or features.ndim != 4 or taken is None:
            raise ValueError(
                f"{where}: expected a module that returns a map of places; {place} of the backbone doesn't"
            )
        if getattr(backbone, "output_fmt", "NCHW") == "NHWC":
            name = type(backbone).__name__
            raise ValueError(f"{where}: inserts are for maps (B, C, h, w); those of {name} are (B, h, w, C)")
        channels[place] = features.shape[1], taken.shape[1]
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
        raise ValueError(f"{where}: the backbone has no module {place!r}; {of} are {known}") from None
