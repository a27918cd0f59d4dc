from __future__ import annotations

import pytest
import torch
from nvidia.dali import fn, types

from dali_ops.execution import build, new_pipeline


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine whose GPU DALI can't use, or without one")
def test_a_gpu_that_dali_cannot_use_is_one_line_with_what_to_do():
    pipeline = new_pipeline(batch_size=1, device="gpu", device_id=0, decode="cpu", threads=1, prefetch=1)
    with pipeline:
        pipeline.set_outputs(fn.constant(idata=[1], dtype=types.UINT8, device="gpu"))
    assert_is_of_the_driver(pipeline, 0, "CUDA")


def assert_is_of_the_driver(pipeline, number: int, reason: str) -> None:
    with pytest.raises(ValueError) as refusal:
        build(pipeline)
    message = str(refusal.value)
    assert message.startswith(f"GPU {number}: DALI 2.") and "\n" not in message
    assert reason in message and message.endswith("or let the CPU do it (loader.device=cpu)")


class StandIn:
    """A pipeline whose building fails."""

    def __init__(self, error: Exception, device_id: int | None = 3) -> None:
        self.error, self.device_id = error, device_id

    def build(self) -> None:
        raise self.error


@pytest.mark.parametrize(
    "reason",
    [
        "The pipeline requires a CUDA-capable GPU but the CUDA driver is not installed or its version is insufficient.",
        "You are trying to create a GPU DALI pipeline while CUDA is not available. Please install CUDA",
        "CUDA driver version is insufficient for CUDA runtime version",
        "no CUDA-capable device is detected",
        "dlopen libcuda.so failed. Please install GPU driver.",
        "system has unsupported display driver / cuda driver combination",
    ],
)
def test_errors_of_the_driver_name_it(reason):
    assert_is_of_the_driver(StandIn(RuntimeError(f"Critical error:\n  {reason}\nC++ context: [x.cc:1]")), 3, reason)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA driver API error CUDA_ERROR_OUT_OF_MEMORY (2):\nout of memory"),
        RuntimeError("CUDA runtime API error cudaErrorMemoryAllocation (2):\nout of memory"),
        RuntimeError("9 is not a valid CUDA device index. Shoud be 0 <= device_id < 1"),
        RuntimeError("Error in GPU operator `nvidia.dali.fn.clahe`: unsupported"),
        TypeError("expected uint8"),
    ],
    ids=str,
)
def test_other_errors_of_building_stay_what_they_are(error):
    with pytest.raises(type(error)) as raised:
        build(StandIn(error))
    assert raised.value is error


def test_on_a_cpu_no_driver_is_blamed():
    error = RuntimeError("CUDA driver version is insufficient for CUDA runtime version")
    with pytest.raises(RuntimeError) as raised:
        build(StandIn(error, device_id=None))
    assert raised.value is error
