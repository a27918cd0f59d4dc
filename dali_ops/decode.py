"""Path -> decoded picture, and the search for the file that cannot be decoded."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from nvidia.dali import Pipeline, fn, types
from nvidia.dali.data_node import DataNode

from dali_ops.execution import new_pipeline

VISIBLE = "visible"
INFRARED = "infrared"
FAMILIES = (VISIBLE, INFRARED)

# Infrared files store one channel three times, so it is decoded once and replicated only just before normalisation.
OUTPUT_TYPES = {VISIBLE: types.RGB, INFRARED: types.GRAY}
CHANNELS = {VISIBLE: 3, INFRARED: 1}


def path_bytes(path: str | os.PathLike[str]) -> np.ndarray:
    """A path as the (length,) uint8 array that `decode` takes."""
    return np.frombuffer(os.fsencode(path), dtype=np.uint8)


def decode(paths: DataNode, *, family: str, device: str, decode: str) -> DataNode:
    """Bytes of paths -> uint8 HWC on `device`: three channels for visible, one for infrared.

    `decode` "mixed" decodes JPEGs on the GPU, "cpu" decodes on the host and copies. EXIF orientation is ignored, as PIL
    ignores it unless asked. Chroma is upsampled as libjpeg does, so that both places agree closely.
    """
    check_family(family)
    images = fn.decoders.image(
        only_parsable(fn.io.file.read(paths)),
        device=decode,
        output_type=OUTPUT_TYPES[family],
        adjust_orientation=False,
        jpeg_fancy_upsampling=True,
    )
    return images.gpu() if device == "gpu" and decode == "cpu" else images


def only_parsable(encoded: DataNode) -> DataNode:
    """The same bytes; a RuntimeError on running where some are no picture.

    The decoder of DALI 2.4 takes the process down (SIGSEGV) when one file among good ones isn't even parsable; reading
    the headers before raises instead. The reshape changes nothing: it makes the decoder wait for the headers.
    """
    shape = fn.peek_image_shape(encoded)
    return fn.reshape(encoded, rel_shape=fn.cast(shape[0:1] * 0 + 1, dtype=types.FLOAT))


def check_family(family: str) -> None:
    if family not in FAMILIES:
        raise ValueError(f"family: expected one of {', '.join(FAMILIES)}; found {family!r}")


def first_undecodable(paths: Iterable[str | os.PathLike[str]], family: str) -> tuple[str, str] | None:
    """The first path that cannot be read or decoded, with the reason in a few words; None if all can.

    Decodes one by one on the CPU: for naming the culprit after a batch has failed, and for checking a data set.
    """
    pipeline = _single_image_pipeline(family)
    for path in paths:
        reason = _why_unreadable(Path(path)) or _why_undecodable(pipeline, path)
        if reason:
            return os.fspath(path), reason
    return None


def _why_unreadable(path: Path) -> str | None:
    if not path.exists():
        return "the file does not exist"
    if not path.is_file():
        return "not a file"
    if path.stat().st_size == 0:
        return "the file is empty"
    return None if os.access(path, os.R_OK) else "no permission to read the file"


def _why_undecodable(pipeline: Pipeline, path: str | os.PathLike[str]) -> str | None:
    # DALI's own message is a dozen lines about the operator, and of the file only a number of an error.
    try:
        pipeline.run(path=[path_bytes(path)])
    except RuntimeError as error:
        if "Failed to decode" in str(error):
            return "the picture is damaged or cut short"
        return "not a picture in a format that DALI decodes, or its header is damaged"
    return None


def _single_image_pipeline(family: str) -> Pipeline:
    pipeline = new_pipeline(batch_size=1, device="cpu", device_id=None, decode="cpu", threads=1, prefetch=1)
    with pipeline:
        paths = fn.external_source(name="path", dtype=types.UINT8, ndim=1)
        pipeline.set_outputs(decode(paths, family=family, device="cpu", decode="cpu"))
    pipeline.build()
    return pipeline
