"""Starting Accelerate, and acting and failing together."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.commands.config.config_args import default_yaml_config_file
from accelerate.utils import (
    DistributedDataParallelKwargs,
    GradientAccumulationPlugin,
    InitProcessGroupKwargs,
    ProjectConfiguration,
    broadcast_object_list,
    gather_object,
)
from safetensors import SafetensorError

from pipeline.models.norm import choose_norm
from pipeline.settings import Settings

DRIVER = Path("/proc/driver/nvidia/version")
PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16", None: None}
# The others wait for a rank that reads the data set, hashes a checkpoint or re-ranks alone. A rank that died is noticed
# by its launcher long before.
LONGEST_WAIT = timedelta(hours=3)
FEW_IDENTITIES = 4  # on a rank, for statistics of its own
FOREIGN = {
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "another parallelism than that of data",
}

log = logging.getLogger("pipeline")


def create_accelerator(settings: Settings, run_folder: str) -> Accelerator:
    """Starts Accelerate as `accelerate launch` or the cluster's environment describes it, except what would change
    results.

    Raises ValueError where several processes were meant and one was started, for more processes than GPUs, and where
    the launcher's configuration asks for another way of training than plain data parallelism.
    """
    # mistakes that Accelerate would silently take for something else
    check_launcher()
    check_accelerate_settings(settings.train.precision)
    check_gpu_count()
    warn_of_unused_gpu()
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),  # unless told so, Accelerate leaves several CPU processes on their own
        mixed_precision=PRECISIONS[settings.train.precision],
        # Not what a configuration of Accelerate or its environment says: both are settings of the run.
        dynamo_backend="no",
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        project_config=ProjectConfiguration(project_dir=run_folder, logging_dir=run_folder),
        kwargs_handlers=[
            # all ranks have the same buffers after each step (`pipeline.models.norm`): none need be sent before it
            DistributedDataParallelKwargs(gradient_as_bucket_view=True, broadcast_buffers=False),
            InitProcessGroupKwargs(timeout=LONGEST_WAIT),
        ],
        step_scheduler_with_optimizer=False,
    )
    # processes that the launcher started and that didn't find each other
    ranks = accelerator.num_processes
    announced = int(os.environ.get("WORLD_SIZE", ranks))
    if announced != ranks:
        raise ValueError(f"WORLD_SIZE: the launcher announced {announced} processes; found {ranks} joined")
    return accelerator


def create_training_accelerator(settings: Settings, run_folder: str) -> Accelerator:
    """Starts Accelerate for training.

    Raises ValueError also where the ranks can't share the batch, and where a tracker's package is missing.
    """
    for tracker in settings.train.trackers:
        if importlib.util.find_spec(tracker) is None:
            raise ValueError(f"train.trackers: {tracker} is not installed; `pip install {tracker}` or leave it out")
    accelerator = create_accelerator(settings, run_folder)
    on_first_rank(accelerator, lambda: check_shares(settings, accelerator.num_processes))
    return accelerator


def check_shares(settings: Settings, ranks: int) -> None:
    """Raises ValueError where a rank's share of a batch has too few identities to learn from."""
    found = settings.batch.ids_per_batch
    local = choose_norm(settings.train.norm, ranks) == "local"
    alone = {"method.mining=local": getattr(settings.method, "mining", "") == "local", "train.norm=local": local}
    why = " and ".join(name for name, applies in alone.items() if applies)
    if found // ranks < (least := 2 if why else 1):
        raise ValueError(
            f"batch.ids_per_batch: expected at least {least * ranks}, {least} for each of the {ranks} processes"
            + (f" ({why})" if why else "")
            + f"; found {found}"
        )


def norm_problems(settings: Settings, ranks: int) -> list[str]:
    """Returns warnings about the batch norm of a training on that many ranks, a sentence each."""
    each = settings.batch.ids_per_batch // ranks
    if choose_norm(settings.train.norm, ranks) != "local" or each >= FEW_IDENTITIES:
        return []
    return [
        f"train.norm=local: statistics of {each} identities on a rank; below {FEW_IDENTITIES} they tell who is in the "
        "batch, and accuracy is lost. train.norm=auto takes those of all ranks"
    ]


def check_accelerate_settings(precision: str | None) -> None:
    """Raises ValueError naming a variable that asks for more than data parallelism in fp32, bf16 or fp16.

    `accelerate launch` sets such variables by its configuration.
    """
    origin = f"the environment or Accelerate's configuration ({default_yaml_config_file}) sets it; leave it out"
    for name, means in FOREIGN.items():
        if os.environ.get(name, "false").lower() not in ("", "0", "false", "no"):
            raise ValueError(f"{name}: {means} is not supported; {origin}")
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    if precision is None and asked not in PRECISIONS.values():
        raise ValueError(f"ACCELERATE_MIXED_PRECISION: expected no, bf16 or fp16; found {asked}; {origin}")


def check_gpu_count() -> None:
    """Raises ValueError where this process would need a GPU that it doesn't see."""
    rank, gpus = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus and rank >= gpus:
        raise ValueError(
            f"LOCAL_RANK: process {rank} of this node sees {gpus} GPUs; start at most one process a GPU, or give each "
            f"process that sees a GPU of its own LOCAL_RANK=0 as slurm/rank.sh does"
        )


def precision_of(accelerator: Accelerator) -> str:
    """Returns the precision of the network's products: fp32, bf16 or fp16."""
    return "fp32" if accelerator.mixed_precision == "no" else accelerator.mixed_precision


def warn_of_unused_gpu() -> None:
    """Logs a warning where PyTorch silently falls back to the CPU: the GPU's driver is older than its CUDA."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    if DRIVER.exists() and not torch.cuda.is_available() and not hidden:
        version = DRIVER.read_text().splitlines()[0]
        log.warning(
            f"a GPU's driver is there ({version}), but PyTorch for CUDA {torch.version.cuda} can't use it: all "
            "runs on the CPU. Renew the driver, or install PyTorch and DALI for its CUDA version"
        )


def check_launcher() -> None:
    """Raises ValueError where several processes were meant to train together and each would train alone.

    `accelerate launch --cpu` with several processes or machines starts one process on each without an error. It is
    known by the meeting point that it announces without giving this process a rank (unless MPI does).
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
    """Returns, on all ranks, what `action` returns on the first; the others wait for it.

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
    """Calls `action` on all ranks and waits for the last. Raises OSError on the first rank, naming one that failed.

    The other ranks exit with its status, so that none waits for a rank that gave up.
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
