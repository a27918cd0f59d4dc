"""Starting Accelerate, and acting and failing together."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import (
    DistributedDataParallelKwargs,
    ProjectConfiguration,
    broadcast_object_list,
    gather_object,
)
from safetensors import SafetensorError

from pipeline.settings import Settings

DRIVER = Path("/proc/driver/nvidia/version")
PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16", None: None}

log = logging.getLogger("pipeline")


def create_accelerator(settings: Settings, run_folder: str) -> Accelerator:
    """Accelerate as `accelerate launch` or the cluster's environment describes it.

    Raises ValueError where several processes were meant and one was started, the ranks can't share the batch, or a
    tracker's package is missing (Accelerate would go on without it).
    """
    refuse_lone_process()
    warn_of_unused_gpu()
    for tracker in settings.train.trackers:
        if importlib.util.find_spec(tracker) is None:
            raise ValueError(f"train.trackers: {tracker} is not installed; `pip install {tracker}` or leave it out")
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),  # unless told so, Accelerate leaves several CPU processes on their own
        mixed_precision=PRECISIONS[settings.train.precision],
        log_with=[*settings.train.trackers] or None,
        project_config=ProjectConfiguration(project_dir=run_folder, logging_dir=run_folder),
        kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
        step_scheduler_with_optimizer=False,
    )
    ranks = accelerator.num_processes
    announced = int(os.environ.get("WORLD_SIZE", ranks))
    if announced != ranks:
        raise ValueError(f"WORLD_SIZE: the launcher announced {announced} processes; found {ranks} joined")
    fewest = settings.batch.ids_per_batch // ranks
    if fewest < (least := 2 if settings.loss.mining == "local" else 1):
        raise ValueError(
            f"batch.ids_per_batch: expected at least {least * ranks}, {least} for each of the {ranks} processes "
            f"(loss.mining={settings.loss.mining}); found {settings.batch.ids_per_batch}"
        )
    if settings.train.norm == "synchronised" and accelerator.device.type != "cuda":
        raise ValueError("train.norm: synchronised statistics need GPUs (torch.nn.SyncBatchNorm); use local or frozen")
    return accelerator


def warn_of_unused_gpu() -> None:
    """PyTorch takes the CPU without a word where the GPU's driver is older than its CUDA."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    if DRIVER.exists() and not torch.cuda.is_available() and not hidden:
        version = DRIVER.read_text().splitlines()[0]
        log.warning(
            f"a GPU's driver is there ({version}), but PyTorch for CUDA {torch.version.cuda} can't use it: all "
            "runs on the CPU. Renew the driver, or install PyTorch and DALI for its CUDA version"
        )


def refuse_lone_process() -> None:
    """`accelerate launch --cpu` with several processes or machines starts one process on each and tells nobody.

    It is known by the meeting point that it announces without giving this process a rank (unless MPI does).
    """
    announced = os.environ.get("ACCELERATE_USE_CPU") and os.environ.get("MASTER_ADDR")
    ranked = any(os.environ.get(name) for name in ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK"))
    if announced and not ranked:
        raise ValueError(
            "accelerate launch --cpu starts one process only, several were asked for; on CPUs use "
            "`accelerate launch --multi_gpu --num_processes N` (it takes CPUs where there is no GPU) or torchrun"
        )
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))
    if tasks > 1 and "WORLD_SIZE" not in os.environ:
        raise ValueError(
            f"srun started {tasks} tasks that know nothing of each other, each would train on its own; use "
            f"`sbatch slurm/train.sh`, or give each its RANK and WORLD_SIZE as slurm/rank.sh does"
        )


def on_first_rank(accelerator: Accelerator, action: Callable[[], Any]) -> Any:
    """What `action` returns on the first rank, on all ranks; the others wait for it.

    A ValueError or OSError is raised on the first rank; the others, which have nothing to add, exit with its status.
    """
    result, error = None, None
    if accelerator.is_main_process:
        try:
            result = action()
        except (ValueError, OSError) as raised:
            error = raised
    result, failed = broadcast_object_list([result, error is not None])
    if error is not None:
        raise error
    if failed:
        sys.exit(2)
    return result


def on_every_rank(accelerator: Accelerator, action: Callable[[], Any]) -> None:
    """Calls `action` on all ranks and waits for the last. OSError on the first rank, naming one that couldn't.

    The other ranks exit with its status, so that nobody waits for a rank that gave up.
    """
    failure = None
    try:
        action()
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        failure = f"rank {accelerator.process_index}: {' '.join(str(error).split())}"
    failures = [text for text in gather_object([failure]) if text]
    if failures and accelerator.is_main_process:
        raise OSError(failures[0])
    if failures:
        sys.exit(2)
