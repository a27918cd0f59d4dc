"""Random erasing (Zhong et al., AAAI 2020) with boxes that are sampled elsewhere."""

from __future__ import annotations

from nvidia.dali import fn
from nvidia.dali.data_node import DataNode

from dali_ops.parameters import ERASING_ANCHOR, ERASING_SHAPE


def erase(images: DataNode, parameters: DataNode, color: tuple[int, int, int]) -> DataNode:
    """Fills the box of a view's parameters in a uint8 HWC image of three channels with a color, 0 to 255."""
    return fn.erase(
        images,
        anchor=parameters[ERASING_ANCHOR],
        shape=parameters[ERASING_SHAPE],
        axes=[0, 1],
        fill_value=list(color),
    )
