"""The evaluation pipeline: recorded images in, resized and normalised images out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from nvidia.dali import Pipeline, fn, types

from dali_ops.decode import CHANNELS, check_family
from dali_ops.decode import decode as decode_files
from dali_ops.execution import new_pipeline
from dali_ops.geometry import check_size, resize
from dali_ops.normalize import normalize, replicate


def evaluation_pipeline(
    source: Callable[[int], list[np.ndarray]],
    *,
    batch_size: int,
    encoded: bool,
    family: str,
    height: int,
    width: int,
    half: bool,
    device: str,
    device_id: int | None,
    decode: str,
    threads: int,
    prefetch: int,
) -> Pipeline:
    """A built pipeline whose every run gives one batch (n, 3, height, width) float32 (float16 if `half`), normalised.

    source(i) gives a list of 1 to batch_size arrays (encoded pictures if `encoded`, else `decode.path_bytes`) and
    raises StopIteration, for that i and all later ones, when there are no more; `run` then raises StopIteration after
    the last batch. The pixels are those of training without derivation, crop, flip and erasing.

    Raises ValueError for impossible settings; running raises RuntimeError for a file that cannot be decoded
    (`check.DecodingCheck` finds it).
    """
    check_family(family)
    check_size(height, width)
    pipeline = new_pipeline(
        batch_size=batch_size, device=device, device_id=device_id, decode=decode, threads=threads, prefetch=prefetch
    )
    with pipeline:
        files = fn.external_source(source, dtype=types.UINT8, ndim=1)
        image = decode_files(files, encoded=encoded, family=family, device=device, decode=decode)
        image = resize(image, height=height, width=width)
        image = replicate(image) if CHANNELS[family] == 1 else image
        pipeline.set_outputs(normalize(image, half=half))
    pipeline.build()
    return pipeline
