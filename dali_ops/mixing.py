"""Mixing a derivative with the image it was derived from: parts of the captured image show through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from nvidia.dali import fn, types
from nvidia.dali.data_node import DataNode
from nvidia.dali.types import DALIDataType

PATCHES_DOWN, PATCHES_ACROSS = 6, 3  # squares of 48 x 48 pixels at 288 x 144


def patch_grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns corners and sizes of the patches, each (patches, 2) int32 as (y, x), from the top left, row by row."""
    down = np.linspace(0, height, PATCHES_DOWN + 1).astype(np.int32)
    across = np.linspace(0, width, PATCHES_ACROSS + 1).astype(np.int32)
    corners = np.stack(np.meshgrid(down[:-1], across[:-1], indexing="ij"), axis=-1).reshape(-1, 2)
    ends = np.stack(np.meshgrid(down[1:], across[1:], indexing="ij"), axis=-1).reshape(-1, 2)
    return corners, ends - corners


def sample_patches(generator: np.random.Generator, count: int, height: int, width: int) -> np.ndarray:
    """Returns (count, 4) float32: the sum of 2 ** k over the patches k that show the captured image; zeros.

    Each of the patches does so with probability 1/2.
    """
    shown = generator.integers(2 ** (PATCHES_DOWN * PATCHES_ACROSS), size=count)
    return np.stack([shown, *[np.zeros(count)] * 3], axis=1).astype(np.float32)


def sample_box(generator: np.random.Generator, count: int, height: int, width: int) -> np.ndarray:
    """Returns (count, 4) float32: top, left, height, width of a box of the image's aspect, cut off at the image's
    edges.

    Its share of the area is uniform in 0 .. 1, its center uniform in the image. Yun et al., CutMix, ICCV 2019, section
    3.2.
    """
    size = np.sqrt(generator.random((count, 1))) * (height, width)
    center = generator.random((count, 2)) * (height, width)
    begin, end = (np.clip(np.rint(center + sign * size / 2), 0, (height, width)) for sign in (-1, 1))
    return np.concatenate([begin, end - begin], axis=1).astype(np.float32)


def show_patches(derived: DataNode, captured: DataNode, numbers: DataNode, *, height: int, width: int) -> DataNode:
    """Squares of a grid of 6 x 3, each with probability 1/2."""
    corners, sizes = patch_grid(height, width)
    places = types.Constant((2 ** np.arange(len(corners), dtype=np.int32))[:, None])
    shown = fn.cast(numbers[0], dtype=DALIDataType.INT32) // places & types.Constant(1, dtype=DALIDataType.INT32)
    sizes = shown * types.Constant(sizes)
    return cover(derived, captured, types.Constant(corners), sizes, boxes=len(corners), height=height, width=width)


def show_box(derived: DataNode, captured: DataNode, numbers: DataNode, *, height: int, width: int) -> DataNode:
    """A box of random size and place (Yun et al., CutMix, ICCV 2019)."""
    box = fn.reshape(fn.cast(numbers, dtype=DALIDataType.INT32), shape=[2, 1, 2])
    return cover(derived, captured, box[0], box[1], boxes=1, height=height, width=width)


def cover(
    under: DataNode, over: DataNode, corners: DataNode, sizes: DataNode, *, boxes: int, height: int, width: int
) -> DataNode:
    """Returns `under` with boxes of `over` at the same places; images of (height, width) with equally many channels.

    corners, sizes (n, 2) int32 as (y, x) of `boxes` = n boxes; a box may be empty. An empty one is moved to the far
    corner: DALI's GPU kernel (2.4) sweeps over starts and ends of boxes, and one that starts where it ends is never
    closed, so that it covers all behind it; behind the far corner there is nothing.
    """
    whole = types.Constant([height, width], dtype=DALIDataType.INT32, shape=[1, 2])
    nothing, one = (types.Constant(number, dtype=DALIDataType.INT32) for number in (0, 1))
    filled = fn.cast(fn.reductions.min(sizes, axes=1, keep_dims=True) > nothing, dtype=DALIDataType.INT32)
    corners = fn.cat(whole * nothing, corners * filled + whole * (one - filled), axis=0)
    sizes = fn.cat(whole, sizes * filled, axis=0)
    return fn.multi_paste(
        under, *[over] * boxes, in_anchors=corners, shapes=sizes, out_anchors=corners, output_size=[height, width]
    )


@dataclass(frozen=True)
class Mixing:
    """A way to let parts of the captured image show through in its derivative.

    sample  (generator, n, height, width) -> (n, 4) float32 parameters of n images
    graph   (derived, captured, parameters, height=, width=) -> mixed, uint8 HWC images with equally many channels
    """

    sample: Callable[[np.random.Generator, int, int, int], np.ndarray]
    graph: Callable[..., DataNode]


MIXINGS = {"patches": Mixing(sample_patches, show_patches), "cutmix": Mixing(sample_box, show_box)}
