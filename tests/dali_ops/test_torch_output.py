from __future__ import annotations

import inspect
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from nvidia.dali import Pipeline, fn, types

from dali_ops import reference
from dali_ops.execution import Source, in_turn, new_pipeline
from dali_ops.normalize import Normalization
from dali_ops.torch_output import TorchOutput, send

COUNT, STEPS, SIZE = 4, 8, (16, 8)
BY = Normalization((0.2, 0.5, 0.9), (0.3, 0.5, 0.25))


def levels(step: int) -> np.ndarray:
    """The batch of a step, the last one an image short."""
    return np.random.default_rng(step).integers(0, 256, (COUNT - (step == STEPS - 1), *SIZE, 3), dtype=np.uint8)


def pipelines_of_steps(place: dict, count: int = 1) -> list[Pipeline]:
    """Two outputs: the levels of the step, and those inverted."""

    def source(i: int) -> np.ndarray:
        if i >= STEPS:
            raise StopIteration
        return levels(i)

    def make(source: Source) -> Pipeline:
        pipeline = new_pipeline(batch_size=COUNT, threads=1, prefetch=2, **place)
        with pipeline:
            images = fn.external_source(source, dtype=types.UINT8, ndim=3, layout="HWC")
            images = images.gpu() if place["device"] == "gpu" else images
            pipeline.set_outputs(images, types.Constant(255, dtype=types.UINT8) - images)
        pipeline.build()
        return pipeline

    return in_turn(make, source, count)


def device_of(place: dict) -> torch.device:
    return torch.device("cuda", 0) if place["device"] == "gpu" else torch.device("cpu")


def expected(step: int) -> np.ndarray:
    return np.stack([reference.normalize(image, BY) for image in (*levels(step), *(255 - levels(step)))])


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float16, 2e-3), (torch.bfloat16, 1.6e-2)], ids=str
)
@pytest.mark.parametrize("count", [1, 3, STEPS + 1])
def test_batches_are_normalized_follow_each_other_and_stay_as_they_are(place, dtype, tolerance, count):
    output = TorchOutput(pipelines_of_steps(place, count), device_of(place), BY, dtype)
    held = [output.next() for _ in range(STEPS)]
    with pytest.raises(StopIteration):
        output.next()
    del output
    for step, images in enumerate(held):
        assert images.dtype == dtype and images.device.type == ("cuda" if place["device"] == "gpu" else "cpu")
        assert images.is_contiguous(memory_format=torch.channels_last)
        np.testing.assert_allclose(images.float().cpu(), expected(step), rtol=tolerance, atol=tolerance)


def test_memory_of_batches_that_is_no_longer_referenced_is_reused(place):
    if place["device"] == "gpu":
        pytest.skip("on a GPU torch itself keeps the memory")
    output = TorchOutput(pipelines_of_steps(place), device_of(place), BY)
    first = output.next()
    part = first[1:2]  # a part holds the whole
    place_of_first = first.data_ptr()
    del first
    second = output.next()
    assert second.data_ptr() != place_of_first
    np.testing.assert_allclose(part, expected(0)[1:2], atol=1e-6)
    del part
    third = output.next()
    assert third.data_ptr() == place_of_first
    np.testing.assert_allclose(second, expected(1), atol=1e-6)
    np.testing.assert_allclose(third, expected(2), atol=1e-6)


def test_memory_may_outlive_the_output_and_the_pipeline(place):
    output = TorchOutput(pipelines_of_steps(place), device_of(place), BY)
    images = output.next()
    del output
    np.testing.assert_allclose(images.cpu(), expected(0), atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_side_stream_sees_complete_images_and_frees_them_early():
    place = {"device": "gpu", "device_id": 0, "decode": "cpu"}
    output = TorchOutput(pipelines_of_steps(place), device_of(place), BY)
    sums = []
    with torch.cuda.stream(torch.cuda.Stream()):
        for _ in range(STEPS - 1):
            torch.cuda._sleep(10_000_000)
            sums.append(output.next().sum())
        torch.cuda.current_stream().synchronize()
    np.testing.assert_allclose(
        [float(value) for value in sums], [expected(step).sum() for step in range(STEPS - 1)], rtol=1e-3
    )


def test_a_gpu_pipeline_is_run_as_dali_declares_it(monkeypatch):
    """The stream comes by position: DALI takes every name for that of an input. What `run` gets needs no GPU."""
    stream, arguments = object(), []

    class StandIn:
        device_id = 0

        def run(self, *given, **named):
            arguments.append(inspect.signature(Pipeline.run).bind(self, *given, **named).arguments)
            raise StopIteration

    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    output = TorchOutput([StandIn()], torch.device("cuda", 0), BY)
    with pytest.raises(StopIteration):
        output.next()
    assert arguments[0].pop("self") and arguments == [{"cuda_stream": stream}]


def test_views_for_a_gpu_lie_one_behind_the_other_in_memory_of_their_own():
    views = [torch.from_numpy(levels(step)) for step in range(3)]
    sent = send(views, torch.device("cpu"))
    assert all(torch.equal(one, other) for one, other in zip(sent, views, strict=True))
    expected_levels = [view.clone() for view in views]
    for view in views:
        view.zero_()
    assert all(torch.equal(one, other) for one, other in zip(sent, expected_levels, strict=True))


def test_views_go_to_a_gpu_from_pinned_memory_without_a_wait(monkeypatch):
    empty, asked = torch.empty, []

    def allocate(*shape, pin_memory, **options):
        asked.append(pin_memory)
        return empty(*shape, **options)

    def to(tensor, device, non_blocking=False):
        asked.append((device, non_blocking, len(tensor)))
        return tensor

    monkeypatch.setattr(torch, "empty", allocate)
    monkeypatch.setattr(torch.Tensor, "to", to)
    send([torch.from_numpy(levels(step)) for step in range(3)], torch.device("cuda", 1))
    assert asked == [True, (torch.device("cuda", 1), True, 3 * COUNT)]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_pipelines_on_the_cpu_feed_a_gpu():
    output = TorchOutput(
        pipelines_of_steps({"device": "cpu", "device_id": None, "decode": "cpu"}, 2), torch.device("cuda", 0), BY
    )
    for step in range(STEPS):
        images = output.next()
        assert images.device.type == "cuda" and images.is_contiguous(memory_format=torch.channels_last)
        np.testing.assert_allclose(images.cpu(), expected(step), rtol=1e-6, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_a_batch_does_not_wait_for_what_is_queued_on_the_gpu(device):
    place = {"device": device, "device_id": 0 if device == "gpu" else None, "decode": "cpu"}
    output = TorchOutput(pipelines_of_steps(place), torch.device("cuda", 0), BY)
    output.next()  # the first makes tables of constants, and memory for all that follow
    torch.cuda.synchronize()
    torch.cuda._sleep(2_000_000_000)
    done = torch.cuda.Event()
    done.record()
    torch.cuda.set_sync_debug_mode("error")
    try:
        images = output.next()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert not done.query()
    np.testing.assert_allclose(images.cpu(), expected(1), rtol=1e-6, atol=1e-6)
