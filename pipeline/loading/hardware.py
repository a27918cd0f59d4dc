"""The resources of its machine that a process may use: cores, and the GPU for DALI."""

from __future__ import annotations

import os

import torch
from joblib import cpu_count

from pipeline.settings import LoaderSettings

MOST_PIPELINES = 8  # side by side; each holds the images of its batches in memory


def usable_cores() -> int:
    """Returns the cores of this process: what Slurm gave each task, else those of the job divided among its node's
    ranks.

    joblib knows the limits that are set from outside: CPU affinity, and the quota of a container's control group.
    """
    allowed = cpu_count()
    if "SLURM_CPUS_PER_TASK" in os.environ:
        return max(1, min(allowed, int(os.environ["SLURM_CPUS_PER_TASK"])))
    return max(1, allowed // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def dali_pipelines(loader: LoaderSettings, device: torch.device) -> tuple[int, dict]:
    """Returns how many DALI pipelines feed a network on `device`, and where and with how many threads each of them
    runs.

    On the CPU one for each core, as they needn't wait for each other (`execution.in_turn`); of several threads each
    where there are more than MOST_PIPELINES cores. Images are decoded on the CPU unless `loader.decode` is mixed
    (`dali_ops.decode` says what that costs). Raises ValueError where `loader.decode` needs a GPU and there is none.
    """
    on_gpu = device.type == "cuda" and loader.device == "auto"
    if loader.decode == "mixed" and not on_gpu:
        raise ValueError("loader.decode: mixed decodes on a GPU, and this loader runs on the CPU; use auto or cpu")
    threads = loader.threads or usable_cores()
    threads_of_each = threads if on_gpu else -(-threads // MOST_PIPELINES)
    return threads // threads_of_each, {
        "device": "gpu" if on_gpu else "cpu",
        "device_id": (device.index or 0) if on_gpu else None,
        "decode": "mixed" if loader.decode == "mixed" else "cpu",
        "threads": threads_of_each,
        "prefetch": loader.prefetch,
    }
