"""Derivations one after the other, each with a probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
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
    """A derivation and the probability, above 0 and at most 1, with which an image goes through it.

    normalized  whether it acts on the normalized image, after crop, flip and erasing (`channel_matrices`); such stages
                stand behind all others
    """

    derivation: Derivation
    probability: float = 1.0
    normalized: bool = False

    @property
    def is_random(self) -> bool:
        return self.probability < 1 or self.derivation.sample is not sample_nothing


def without_normalized(stages: Sequence[Stage]) -> list[Stage]:
    """Returns the stages that act on levels, before crop, flip and erasing."""
    return [stage for stage in stages if not stage.normalized]


def channel_matrices(stages: Sequence[Stage], numbers: np.ndarray) -> np.ndarray | None:
    """Returns what the stages behind normalization do to the channels of n images, (n, 3, 3) float32; None for none.

    numbers: (n, columns) `parameters` of the images' view.
    """
    matrices = None
    for place, stage in enumerate(stages):
        if not stage.normalized:
            continue
        assert stage.derivation.matrices is not None, stage.derivation.name
        applied = numbers[:, layout.applied(place), None, None] > 0
        made = np.where(applied, stage.derivation.matrices(numbers[:, layout.derivation(place)]), np.eye(3))
        matrices = made if matrices is None else made @ matrices
    return None if matrices is None else matrices.astype(np.float32)


def matrices_for_testing(stages: Sequence[Stage]) -> np.ndarray | None:
    """Returns `channel_matrices` of one image without chance, as `derive_for_testing` derives, (1, 3, 3) float32."""
    numbers = np.zeros((1, layout.width(len(stages))), np.float32)
    for place, stage in enumerate(stages):
        numbers[0, layout.applied(place)] = stage.probability >= 0.5
        numbers[0, layout.derivation(place)] = stage.derivation.fixed
    return channel_matrices(stages, numbers)


def channels_after(stage: Stage, channels: int) -> int:
    """Returns the channels after a stage that is given `channels`; the larger number where some images skip it."""
    given = stage.derivation.gives or channels
    return given if stage.probability == 1 else max(given, channels)


def check_tiles(stages: Sequence[Stage], height: int, width: int) -> None:
    """Raises ValueError where a derivation can't be applied to images of that size."""
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
    """Returns the derived images and their channels, of uint8 HWC images of (height, width) and their `parameters`."""
    for number, stage in enumerate(without_normalized(stages)):
        made = stage.derivation.graph(image, numbers[layout.derivation(number)])
        given, after = stage.derivation.gives or channels, channels_after(stage, channels)
        if stage.probability < 1:
            made, before = replicate_to(made, given, after), replicate_to(image, channels, after)
            made = _choose(made, before, numbers[layout.applied(number)], height, width)
        image, channels = made, after
    return image, channels


def derive_for_testing(image: DataNode, channels: int, stages: Sequence[Stage]) -> tuple[DataNode, int]:
    """Derives without chance: with fixed parameters, and only the stages that most training images go through."""
    for stage in without_normalized(stages):
        if stage.probability >= 0.5:
            fixed = types.Constant([float(value) for value in stage.derivation.fixed], shape=[3])
            image = stage.derivation.graph(image, fixed)
            channels = stage.derivation.gives or channels
    return image, channels


def _choose(made: DataNode, before: DataNode, applied: DataNode, height: int, width: int) -> DataNode:
    """Returns `made` where `applied` is 1, else `before`: the whole image is covered, or nothing of it."""
    whole = types.Constant([height, width], dtype=DALIDataType.INT32, shape=[1, 2])
    corner = types.Constant([0, 0], dtype=DALIDataType.INT32, shape=[1, 2])
    return cover(
        before, made, corner, whole * fn.cast(applied, dtype=DALIDataType.INT32), boxes=1, height=height, width=width
    )
