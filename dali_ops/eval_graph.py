"""The evaluation pipeline: captured images in, resized images out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from nvidia.dali import Pipeline, fn

from dali_ops.captured import captured_images, fed_kind
from dali_ops.decode import CHANNELS, check_base
from dali_ops.derive.stages import Stage, check_tiles, derive_for_testing
from dali_ops.execution import build, new_pipeline
from dali_ops.geometry import check_image_size
from dali_ops.normalize import replicate_to


def evaluation_pipeline(
    source: Callable[[int], list[np.ndarray]],
    *,
    batch_size: int,
    form: str,
    base: str,
    stages: Sequence[Stage],
    height: int,
    width: int,
    interpolation: str,
    device: str,
    device_id: int | None,
    decode: str,
    threads: int,
    prefetch: int,
) -> Pipeline:
    """Returns a built pipeline whose every run makes one batch (n, height, width, 3) uint8.

    With `stages` of derivation (applied without chance: `derive.stages.derive_for_testing`) each run also makes a batch
    of the derived images.

    source(i) returns a list of 1 to batch_size arrays (of the form `form`: `decode.FORMS`) and raises StopIteration,
    for that i and all later ones, when there are no more; `run` then raises StopIteration after the last batch. The
    pixels are those of training without crop, flip and erasing.

    Raises ValueError for impossible settings; running raises RuntimeError for a file that cannot be decoded
    (`check.DecodingCheck` finds it).
    """
    # impossible settings, which DALI would report less clearly
    check_base(base)
    check_image_size(height, width)
    check_tiles(stages, height, width)
    pipeline = new_pipeline(
        batch_size=batch_size, device=device, device_id=device_id, decode=decode, threads=threads, prefetch=prefetch
    )
    with pipeline:
        # input: paths, encoded images or pixels
        dtype, dimensions, layout = fed_kind(form)
        fed = fn.external_source(source, dtype=dtype, ndim=dimensions, layout=layout)
        image = captured_images(
            fed,
            form=form,
            base=base,
            height=height,
            width=width,
            interpolation=interpolation,
            device=device,
            decode_place=decode,
        )
        # outputs: the captured images, and the derived ones where they are asked for, all of three channels
        outputs = [replicate_to(image, CHANNELS[base])]
        if stages:
            outputs.append(replicate_to(*derive_for_testing(image, CHANNELS[base], stages)))
        pipeline.set_outputs(*outputs)
    build(pipeline)
    return pipeline
