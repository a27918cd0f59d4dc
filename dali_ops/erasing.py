"""Random erasing (Zhong et al., AAAI 2020) with boxes that are sampled elsewhere."""

from __future__ import annotations

from nvidia.dali import fn
from nvidia.dali.data_node import DataNode

from dali_ops.normalize import MEAN
from dali_ops.parameters import ERASING_ANCHOR, ERASING_SHAPE

ERASED = tuple(round(255 * value) for value in MEAN)  # within half a level of 0 after normalization


def erase(images: DataNode, parameters: DataNode) -> DataNode:
    """Fills the box of a view's parameters in a uint8 HWC image of three channels with the mean color."""
    return fn.erase(
        images,
        anchor=parameters[ERASING_ANCHOR],
        shape=parameters[ERASING_SHAPE],
        axes=[0, 1],
        fill_value=list(ERASED),
    )
