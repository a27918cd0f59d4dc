"""Taps: earlier maps of a backbone, for inserts that look at more than what stands at their place.

Taps are hooks, so modules and parameters keep their names. A tap and the insert that takes from it are copied together
with their network.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import nn


class TapPlace(NamedTuple):
    """What an insert wants to see: what goes into a module of the backbone, by timm's name, or comes out of it."""

    module: str
    side: Literal["input", "output"]


class MapSize(NamedTuple):
    """The size of a map without its rows."""

    channels: int
    height: int
    width: int


class Tap:
    """A forward hook that keeps the map at a place until the insert takes it, in the same forward pass."""

    def __init__(self, place: TapPlace, where: str) -> None:
        self.place, self.where = place, where
        self.kept: torch.Tensor | None = None

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        self.kept = inputs[0] if self.place.side == "input" else output

    def take(self) -> torch.Tensor:
        """Returns the map (B, C, h, w), which isn't kept any longer. Raises ValueError where none has been there."""
        kept, self.kept = self.kept, None
        if not isinstance(kept, torch.Tensor) or kept.ndim != 4:
            raise ValueError(f"{self.where}: expected a map at the {self.place.side} of {self.place.module} before it")
        return kept

    def take_size(self) -> MapSize:
        return MapSize(*self.take().shape[1:])


def check_untapped(stems: nn.Module, depth: str) -> None:
    """Raises ValueError where an insert of the shared body would look at a map of the stems, which see some rows
    each."""
    for module in stems.modules():
        for hook in module._forward_hooks.values():
            if isinstance(hook, Tap):
                expected = f"stems that end before {hook.place.module}, whose {hook.place.side} {hook.where} reads"
                raise ValueError(f"stem_depth: expected {expected}; found {depth}")
