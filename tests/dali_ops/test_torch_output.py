from __future__ import annotations

import numpy as np
import pytest
import torch
from nvidia.dali import fn, types

from dali_ops.execution import new_pipeline
from dali_ops.torch_output import next_images

COUNT, STEPS = 4, 8


def counting_pipeline(place: dict, dtype):
    """Two outputs (n, 3, 16, 8): the number of the step, and the same plus 1000; the last batch is one image short."""

    def source(i: int) -> np.ndarray:
        if i >= STEPS:
            raise StopIteration
        return np.full((COUNT - (i == STEPS - 1), 3, 16, 8), i, np.float32)

    pipeline = new_pipeline(batch_size=COUNT, threads=1, prefetch=2, **place)
    with pipeline:
        values = fn.external_source(source, dtype=types.FLOAT, ndim=3)
        values = values.gpu() if place["device"] == "gpu" else values
        pipeline.set_outputs(fn.cast(values, dtype=dtype), fn.cast(values + 1000, dtype=dtype))
    return pipeline


@pytest.mark.parametrize(("dali_type", "torch_type"), [(types.FLOAT, torch.float32), (types.FLOAT16, torch.float16)])
def test_outputs_follow_each_other_and_stay_as_they_are(place, dali_type, torch_type):
    pipeline = counting_pipeline(place, dali_type)
    held = [next_images(pipeline) for _ in range(STEPS)]
    with pytest.raises(StopIteration):
        next_images(pipeline)
    del pipeline
    for step, images in enumerate(held):
        count = COUNT - (step == STEPS - 1)
        assert images.shape == (2 * count, 3, 16, 8)
        assert images.dtype == torch_type
        assert images.is_contiguous()
        assert images.device.type == ("cuda" if place["device"] == "gpu" else "cpu")
        assert torch.all(images[:count] == step)
        assert torch.all(images[count:] == step + 1000)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_side_stream_sees_complete_images_and_frees_them_early():
    pipeline = counting_pipeline({"device": "gpu", "device_id": 0, "decode": "cpu"}, types.FLOAT)
    sums = []
    with torch.cuda.stream(torch.cuda.Stream()):
        for _ in range(STEPS - 1):
            torch.cuda._sleep(10_000_000)
            sums.append(next_images(pipeline)[:COUNT].sum())
        torch.cuda.current_stream().synchronize()
    assert [float(value) for value in sums] == [COUNT * 3 * 16 * 8 * step for step in range(STEPS - 1)]
