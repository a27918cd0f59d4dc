"""Derivations one after the other, each with a probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nvidia.dali import fn, types
from nvidia.dali.data_node import DataNode
from nvidia.dali.types import DALIDataType

from dali_ops import parameters as layout
from dali_ops.derive import Derivation
from dali_ops.derive.sampling import sample_nothing
from dali_ops.mixing import cover
from dali_ops.normalize import replicate_to


@dataclass(frozen=True)
class Stage:
    """A derivation and the probability, above 0 and at most 1, with which an image goes through it."""

    derivation: Derivation
    probability: float = 1.0

    @property
    def is_random(self) -> bool:
        return self.probability < 1 or self.derivation.sample is not sample_nothing


def channels_after(stage: Stage, channels: int) -> int:
    """Channels of an image that had `channels` before the stage. Where some images leave it out, all have the more."""
    given = stage.derivation.gives or channels
    return given if stage.probability == 1 else max(given, channels)


def check_tiles(stages: Sequence[Stage], height: int, width: int) -> None:
    """ValueError where a derivation can't be applied to images of that size."""
    for stage in stages:
        derivation = stage.derivation
        if not derivation.divides(height, width):
            down, across = derivation.tiles
            raise ValueError(
                f"{derivation.name}: expected a height that is a multiple of {down} and a width that is a multiple of "
                f"{across}, its tiles; found height {height}, width {width}"
            )


def apply_stages(
    image: DataNode, channels: int, stages: Sequence[Stage], numbers: DataNode, *, height: int, width: int
) -> tuple[DataNode, int]:
    """uint8 HWC images of (height, width) and their `parameters` -> the derived images and their number of channels."""
    for number, stage in enumerate(stages):
        made = stage.derivation.graph(image, numbers[layout.derivation(number)])
        given, after = stage.derivation.gives or channels, channels_after(stage, channels)
        if stage.probability < 1:
            made, before = replicate_to(made, given, after), replicate_to(image, channels, after)
            made = _choose(made, before, numbers[layout.applied(number)], height, width)
        image, channels = made, after
    return image, channels


def derive_for_testing(image: DataNode, channels: int, stages: Sequence[Stage]) -> tuple[DataNode, int]:
    """The same without chance: fixed parameters, and only the stages that most training images went through."""
    for stage in stages:
        if stage.probability >= 0.5:
            fixed = types.Constant([float(value) for value in stage.derivation.fixed], shape=[3])
            image = stage.derivation.graph(image, fixed)
            channels = stage.derivation.gives or channels
    return image, channels


def _choose(made: DataNode, before: DataNode, applied: DataNode, height: int, width: int) -> DataNode:
    """`made` where `applied` is 1, else `before`: the whole image is covered, or nothing of it."""
    whole = types.Constant([height, width], dtype=DALIDataType.INT32, shape=[1, 2])
    corner = types.Constant([0, 0], dtype=DALIDataType.INT32, shape=[1, 2])
    return cover(
        before, made, corner, whole * fn.cast(applied, dtype=DALIDataType.INT32), boxes=1, height=height, width=width
    )
