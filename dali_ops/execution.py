"""Where and how a pipeline runs: the settings that training and evaluation share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import nvidia.dali
from nvidia.dali import Pipeline

DEVICES = ("cpu", "gpu")
DECODE_PLACES = ("cpu", "mixed")

Source = Callable[[int], Any]  # number of a batch, 0, 1, ... -> what the graph is fed


def new_pipeline(
    *, batch_size: int, device: str, device_id: int | None, decode: str, threads: int, prefetch: int
) -> Pipeline:
    """Returns an empty pipeline. `device_id` is ignored on the CPU, where DALI needs no driver.

    The dynamic executor allocates new memory for every batch, so results are never overwritten by later ones. Raises
    ValueError for a name or a number that is out of range.
    """
    _check_choice("device", device, DEVICES)
    _check_choice("decode", decode, DECODE_PLACES)
    if device == "cpu" and decode == "mixed":
        raise ValueError("decode: 'mixed' needs device 'gpu'; found device 'cpu'; use decode 'cpu'")
    if device == "gpu" and device_id is None:
        raise ValueError("device_id: expected the number of a GPU for device 'gpu'; found None")
    for name, value in (("batch_size", batch_size), ("threads", threads), ("prefetch", prefetch)):
        if value < 1:
            raise ValueError(f"{name}: expected at least 1; found {value}")
    return Pipeline(
        batch_size=batch_size,
        num_threads=threads,
        device_id=device_id if device == "gpu" else None,
        prefetch_queue_depth=prefetch,
        exec_dynamic=True,
    )


# Messages of DALI 2.4 and CUDA 13 where there is no driver, or one that is too old for them.
OF_THE_DRIVER = re.compile(
    "CUDA is not available|no CUDA-capable device|driver is not installed|install GPU driver|installed CUDA driver|"
    "version is insufficient|insufficient ?driver|driver combination|driver is a stub|libcuda|(load|initialize) CUDA",
    re.IGNORECASE,
)


def build(pipeline: Pipeline) -> None:
    """Builds the pipeline. Raises ValueError, one line, where DALI can't use the driver of the GPU it was made for."""
    try:
        pipeline.build()
    except RuntimeError as error:
        reason = next((line.strip() for line in str(error).splitlines() if OF_THE_DRIVER.search(line)), None)
        if pipeline.device_id is None or reason is None:
            raise
        raise ValueError(
            f"GPU {pipeline.device_id}: DALI {nvidia.dali.__version__} can't use it: {reason}; install the DALI of its "
            "driver (nvidia-dali-cuda120 for CUDA 12), or let the CPU do it (loader.device=cpu)"
        ) from error


def in_turn(make: Callable[[Source], Pipeline], source: Source, count: int) -> list[Pipeline]:
    """Returns `count` pipelines that share the batches of a source: pipeline k makes k, k + count, k + 2 * count, ...

    On the CPU every operator waits for the last of its pipeline's threads; pipelines of one thread never wait.
    """
    return [make(_every(source, first, count)) for first in range(count)]


def _every(source: Source, first: int, step: int) -> Source:
    return lambda i: source(first + i * step)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}; found {value!r}")
