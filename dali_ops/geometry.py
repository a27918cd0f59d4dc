"""Resizing, and the window of the padded image that a view shows."""

from __future__ import annotations

from typing import cast

import numpy as np
from nvidia.dali import fn, types
from nvidia.dali.data_node import DataNode
from nvidia.dali.types import DALIInterpType

from dali_ops.parameters import CROP, FLIP

INTERPOLATIONS = {"bilinear": DALIInterpType.INTERP_LINEAR, "bicubic": DALIInterpType.INTERP_CUBIC}


def check_image_size(height: int, width: int) -> None:
    """Raises ValueError where a size has no pixel."""
    if height < 1 or width < 1:
        raise ValueError(f"height, width: expected at least 1 pixel; found {height}, {width}")


def resize(images: DataNode, *, height: int, width: int, interpolation: str) -> DataNode:
    """Resizes uint8 HWC of any size to (height, width), antialiased where it shrinks, as PIL does.

    Raises ValueError for an interpolation that isn't one of INTERPOLATIONS.
    """
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"interpolation: expected one of {', '.join(INTERPOLATIONS)}; found {interpolation!r}")
    resized = fn.resize(images, size=[height, width], interp_type=INTERPOLATIONS[interpolation], antialias=True)
    return cast(DataNode, resized)  # DALI's type is a union: it gives sizes out as well where they are asked for


def windows(parameters: np.ndarray, height: int, width: int, pad: int) -> np.ndarray:
    """Returns crops of images with `pad` pixels on every side, as one paste each: no image is padded.

    (n, views, ...) parameters -> (n, views, 4, 1, 2) int32: corner in the image, size, and corner in the view of the
    part of the window that lies in the image, each (y, x); last, whether it is flipped (0, 1 for left and right).
    """
    # How far the window is moved down and to the right against the image; negative: up and to the left.
    shift = parameters[..., CROP].astype(np.int32) - pad
    whole = np.array([height, width], np.int32)
    # Moved down by s, the window shows the image from row s on, at its own top; moved up by s, it shows the image from
    # its first row on, s rows below its own top. Either way s rows of the image are lost. Columns likewise.
    corner, size, target = np.clip(shift, 0, whole), np.maximum(whole - np.abs(shift), 0), np.clip(-shift, 0, whole)
    # A part without pixels has no size and lies at the far corner of the view, as an empty box of `mixing.cover`.
    empty = size.min(axis=-1, keepdims=True) == 0
    size, target = np.where(empty, 0, size), np.where(empty, whole, target)
    # A flag next to three corners and sizes: one input of the graph instead of two.
    flipped = np.zeros_like(shift)
    flipped[..., 1] = parameters[..., FLIP]
    return np.stack([corner, size, target, flipped], axis=2)[:, :, :, None]


def crop(
    images: DataNode, channels: int, window: DataNode, view: int, *, height: int, width: int, fill: int = 0
) -> DataNode:
    """Crops uint8 HWC of (height, width) to the window of a view (of `windows`), of the same size.

    What lies outside the image has the level `fill`: black, which costs nothing, or another, 0 to 255.
    """
    corner, size, target = (window[view, number] for number in range(3))
    under: list[DataNode] = []
    if fill:
        level = types.Constant(np.full((height, width, channels), fill, np.uint8), layout="HWC")
        under.append(level.gpu() if images.device == "gpu" else level)
        origin, whole = (types.Constant(np.array([of], np.int32)) for of in ((0, 0), (height, width)))
        corner, size, target = fn.cat(origin, corner), fn.cat(whole, size), fn.cat(origin, target)
    return fn.multi_paste(
        *under, images, in_anchors=corner, shapes=size, out_anchors=target, output_size=[height, width]
    )


def flip(images: DataNode, window: DataNode, view: int) -> DataNode:
    """Mirrors left and right where the window of a view (of `windows`) says so."""
    return fn.flip(images, horizontal=window[view, 3, 0, 1])
