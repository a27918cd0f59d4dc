"""Random erasing (Zhong et al., AAAI 2020) with boxes that were drawn elsewhere."""

from __future__ import annotations

from nvidia.dali import fn
from nvidia.dali.data_node import DataNode

from dali_ops.parameters import ERASING_ANCHOR, ERASING_SHAPE


def erase(images: DataNode, parameters: DataNode, view: int) -> DataNode:
    """Fills the box in row `view` of `parameters` of a normalised CHW image with 0, the mean colour."""
    return fn.erase(
        images,
        anchor=parameters[view, ERASING_ANCHOR],
        shape=parameters[view, ERASING_SHAPE],
        axes=[1, 2],
        fill_value=0,
    )
