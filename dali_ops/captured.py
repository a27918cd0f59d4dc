"""Input of a graph -> captured images in the size of the network: the start of training and evaluation."""

from __future__ import annotations

from nvidia.dali.data_node import DataNode
from nvidia.dali.types import DALIDataType

from dali_ops.decode import FORMS, RESIZED, decode
from dali_ops.geometry import resize

Kind = tuple[DALIDataType, int, str | None]  # type, dimensions and layout of an input of the graph


def fed_kind(form: str) -> Kind:
    """Returns type, dimensions and layout of images of the form `form`.

    Raises ValueError where there is no such form.
    """
    if form not in FORMS:
        raise ValueError(f"form: expected one of {', '.join(FORMS)}; found {form!r}")
    return (DALIDataType.UINT8, 3, "HWC") if form == RESIZED else (DALIDataType.UINT8, 1, None)


def captured_images(
    fed: DataNode,
    *,
    form: str,
    base: str,
    height: int,
    width: int,
    interpolation: str,
    device: str,
    decode_place: str,
) -> DataNode:
    """Returns uint8 HWC images of (height, width) on `device`: three channels for visible, one for infrared."""
    if form == RESIZED:
        return fed.gpu() if device == "gpu" else fed
    images = decode(fed, form=form, base=base, device=device, decode=decode_place)
    return resize(images, height=height, width=width, interpolation=interpolation)
