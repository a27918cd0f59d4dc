"""Resizing, padding, and the arguments that make the normalisation crop and flip."""

from __future__ import annotations

from typing import Any

import numpy as np
from nvidia.dali import fn, types
from nvidia.dali.data_node import DataNode

from dali_ops.parameters import CROP_X, CROP_Y, FLIP


def check_size(height: int, width: int) -> None:
    if height < 1 or width < 1:
        raise ValueError(f"height, width: expected at least 1 pixel; found {height}, {width}")


def resize(images: DataNode, *, height: int, width: int) -> DataNode:
    """uint8 HWC of any size -> (height, width), bilinear, antialiased where it shrinks (as PIL's BILINEAR)."""
    return fn.resize(images, size=[height, width], interp_type=types.INTERP_LINEAR, antialias=True)


def pad_black(images: DataNode, *, height: int, width: int, pad: int) -> DataNode:
    """uint8 HWC of (height, width) in the middle of a black picture that is `pad` pixels larger on every side."""
    if pad == 0:
        return images
    corner = np.full((1, 2), pad, np.int32)
    return fn.multi_paste(images, out_anchors=corner, output_size=[height + 2 * pad, width + 2 * pad])


def crop_and_flip(parameters: DataNode, view: int, *, height: int, width: int, pad: int) -> dict[str, Any]:
    """Arguments of `crop_mirror_normalize` for the window and the mirroring that row `view` of `parameters` asks for.

    Folded into the normalisation because a crop there costs nothing. `parameters` is (views, WIDTH) an image.
    """
    arguments: dict[str, Any] = {"mirror": fn.cast(parameters[view, FLIP], dtype=types.INT32)}
    if pad > 0:
        # The operator takes the position as a fraction of the room there is and rounds the product to whole pixels.
        arguments["crop_pos_y"] = parameters[view, CROP_Y] / (2.0 * pad)
        arguments["crop_pos_x"] = parameters[view, CROP_X] / (2.0 * pad)
        arguments["crop"] = [height, width]
    return arguments
