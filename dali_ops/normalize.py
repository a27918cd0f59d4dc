"""uint8 HWC -> normalised float CHW, the form in which every view leaves the graph."""

from __future__ import annotations

from typing import Any

from nvidia.dali import fn, types
from nvidia.dali.data_node import DataNode

# Of ImageNet's training images, red, green and blue, on a scale of 0 to 1: what pretrained backbones expect.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def replicate(images: DataNode) -> DataNode:
    """uint8 HWC of one channel -> three equal ones."""
    return fn.color_space_conversion(images, image_type=types.GRAY, output_type=types.RGB)


def normalize(images: DataNode, *, half: bool, crop_and_flip: dict[str, Any] | None = None) -> DataNode:
    """uint8 HWC of three channels -> (x / 255 - MEAN) / STD as 3HW float32, or float16 if `half`.

    `crop_and_flip` (`geometry.crop_and_flip`) is applied on the way.
    """
    return fn.crop_mirror_normalize(
        images,
        dtype=types.FLOAT16 if half else types.FLOAT,
        output_layout="CHW",
        mean=[255 * value for value in MEAN],
        std=[255 * value for value in STD],
        **(crop_and_flip or {}),
    )
