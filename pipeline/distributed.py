"""One objective over all ranks: gathering rows with gradients, averaging scalars, starting Accelerate."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, ProjectConfiguration
from torch import distributed

from pipeline.settings import Settings

PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16", None: None}


def create_accelerator(settings: Settings, run_folder: str) -> Accelerator:
    """Accelerate as `accelerate launch` or the cluster's environment describes it.

    Raises ValueError where several processes were meant and one was started, the ranks can't share the batch, or a
    tracker's package is missing (Accelerate would go on without it).
    """
    refuse_lone_process()
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
    if settings.batch.ids_per_batch % ranks:
        raise ValueError(
            f"batch.ids_per_batch: expected a multiple of the {ranks} processes, each takes the same number of "
            f"identities; found {settings.batch.ids_per_batch}"
        )
    if settings.train.norm == "synchronised" and accelerator.device.type != "cuda":
        raise ValueError("train.norm: synchronised statistics need GPUs (torch.nn.SyncBatchNorm); use local or frozen")
    return accelerator


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


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows: torch.Tensor) -> torch.Tensor:
        context.rank, context.ranks, context.rows = distributed.get_rank(), distributed.get_world_size(), len(rows)
        gathered = rows.new_empty((context.ranks * len(rows), *rows.shape[1:]))
        distributed.all_gather([*gathered.chunk(context.ranks)], rows.contiguous())
        return gathered

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        # Every rank computes the same loss from the same gathered rows, so the sum of the ranks' gradients, which a
        # reduce-scatter would fetch, is this rank's own times the number of ranks. DDP then divides by that number.
        mine = slice(context.rank * context.rows, (context.rank + 1) * context.rows)
        return gradient[mine] * context.ranks


def gather_rows(rows: torch.Tensor) -> torch.Tensor:
    """(n, ...) of every rank -> (ranks x n, ...), in the order of the ranks, the same on all.

    Differentiable on condition that every rank then computes the same scalar from the result. Every rank must bring
    the same number of rows.
    """
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return rows
    return _GatherRows.apply(rows)


def mean_over_ranks(values: torch.Tensor) -> torch.Tensor:
    """Mean over the ranks of a tensor of scalars. A NaN or infinity of any rank reaches all."""
    if distributed.is_initialized() and distributed.get_world_size() > 1:
        distributed.all_reduce(values)
        values = values / distributed.get_world_size()
    return values
