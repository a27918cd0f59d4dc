"""The decoding pipeline: encoded images in, decoded or resized images out, on the CPU and in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from nvidia.dali import Pipeline, fn
from nvidia.dali.types import DALIDataType

from dali_ops.decode import ENCODED, decode
from dali_ops.execution import build, new_pipeline
from dali_ops.geometry import resize


def decoding_pipeline(
    base: str, *, batch_size: int, threads: int, size: tuple[int, int] | None = None, interpolation: str = "bilinear"
) -> Pipeline:
    """Returns a built pipeline; `run(encoded=...)` takes 1 to batch_size encoded images (uint8, 1-D, none of them
    empty).

    Its output is uint8 HWC, three channels for visible and one for infrared, resized to `size` (height, width) where
    that is given: exactly the pixels of a training whose loader runs on a CPU; a GPU rounds differently when it
    resizes. Running raises RuntimeError for images that can't be decoded.
    """
    pipeline = new_pipeline(
        batch_size=batch_size, device="cpu", device_id=None, decode="cpu", threads=threads, prefetch=1
    )
    with pipeline:
        encoded = fn.external_source(name="encoded", dtype=DALIDataType.UINT8, ndim=1)
        images = decode(encoded, form=ENCODED, base=base, device="cpu", decode="cpu")
        if size:
            images = resize(images, height=size[0], width=size[1], interpolation=interpolation)
        pipeline.set_outputs(images)
    build(pipeline)
    return pipeline


def resize_images(pipeline: Pipeline, encoded: Sequence[np.ndarray]) -> np.ndarray:
    """Returns (n, height, width, channels) uint8 from a `decoding_pipeline` with a size. Raises what that raises."""
    (images,) = pipeline.run(encoded=list(encoded))
    return np.array(images.as_tensor())
