"""Path or encoded image -> decoded image."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from nvidia.dali import fn
from nvidia.dali.data_node import DataNode
from nvidia.dali.fn.io.file import read
from nvidia.dali.types import DALIDataType, DALIImageType

VISIBLE = "visible"
INFRARED = "infrared"
BASES = (VISIBLE, INFRARED)

# The form in which a graph gets images: the path of a file, its content, or its pixels in the size of the network.
PATH, ENCODED, RESIZED = FORMS = ("path", "encoded", "resized")

# Infrared files store one channel three times, so it is decoded once and replicated only just before normalization.
OUTPUT_TYPES = {VISIBLE: DALIImageType.RGB, INFRARED: DALIImageType.GRAY}
CHANNELS = {VISIBLE: 3, INFRARED: 1}


def path_bytes(path: str | os.PathLike[str]) -> np.ndarray:
    """Returns a path as the (length,) uint8 array that `decode` takes where it reads files."""
    return np.frombuffer(os.fsencode(path), dtype=np.uint8)


def decode(files: DataNode, *, form: str, base: str, device: str, decode: str) -> DataNode:
    """Decodes files to uint8 HWC images on `device`: three channels for visible, one for infrared.

    `files` are uint8: encoded images or bytes of paths, as `form` says. Images are rotated as their EXIF orientation
    says: they are what a viewer shows. `decode` "cpu" decodes on the host and copies. "mixed" decodes JPEGs on the GPU,
    with chroma upsampled as libjpeg does, so that both places agree closely, but not to the level; there a truncated
    image may be returned as if it were whole.

    Some GPUs have a hardware decoder for JPEGs next to their cores. By default DALI 2.4 sends it nine tenths of a batch
    and the rest to the cores, so that an image's levels depend on its place; here it gets all that it can decode.
    """
    check_base(base)
    of_gpu: dict[str, Any] = {"hw_decoder_load": 1.0} if decode == "mixed" else {}
    images = fn.decoders.image(
        only_parsable(read(files) if form == PATH else files),
        device=decode,
        output_type=OUTPUT_TYPES[base],
        adjust_orientation=True,
        jpeg_fancy_upsampling=True,
        **of_gpu,
    )
    return images.gpu() if device == "gpu" and decode == "cpu" else images


def only_parsable(encoded: DataNode) -> DataNode:
    """Returns the same bytes. Running raises RuntimeError where some are no image.

    The decoder of DALI 2.4 crashes the process (SIGSEGV) when one file among good ones isn't even parsable; reading the
    headers first raises instead. The reshape changes nothing: it makes the decoder wait for the headers.
    """
    shape = fn.peek_image_shape(encoded)
    return fn.reshape(encoded, rel_shape=fn.cast(shape[0:1] * 0 + 1, dtype=DALIDataType.FLOAT))


def check_base(base: str) -> None:
    """Raises ValueError where a captured modality isn't one of BASES."""
    if base not in BASES:
        raise ValueError(f"base: expected one of {', '.join(BASES)}; found {base!r}")
