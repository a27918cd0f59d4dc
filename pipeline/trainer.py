"""The training loop."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from timm.utils import ModelEmaV3
from tqdm import tqdm

from pipeline.batch import Batch
from pipeline.checkpoint import save_checkpoint
from pipeline.distributed import gather_rows, mean_over_ranks
from pipeline.losses.total import TotalLoss
from pipeline.optimization import learning_rate_factor, set_learning_rate
from pipeline.replacement import ReplacedCount
from pipeline.run_folder import MetricsFile
from pipeline.settings import Settings

log = logging.getLogger("pipeline")


@dataclass
class Training:
    """What the loop works on. `network` and `optimizer` are prepared by Accelerate, `batches` start at `step`."""

    settings: Settings
    accelerator: Accelerator
    network: torch.nn.Module
    optimizer: torch.optim.Optimizer
    loss: TotalLoss
    batches: Iterator[Batch]
    steps_per_epoch: int
    folder: Path
    step: int = 0
    average: ModelEmaV3 | None = None
    replaced: ReplacedCount = field(default_factory=ReplacedCount)

    @property
    def steps(self) -> int:
        return self.settings.train.epochs * self.steps_per_epoch

    @property
    def tested_network(self) -> torch.nn.Module:
        return self.average.module if self.average else self.accelerator.unwrap_model(self.network)


@dataclass
class Step:
    """What happened in one optimiser step: mean parts of the loss; rows seen and recorded images replaced, of all
    ranks; seconds this rank waited for data; whether the training was asked to stop."""

    parts: dict[str, float]
    images: int
    replaced: int
    waiting: float
    stop: bool


@dataclass
class Interval:
    """Sums over some steps, for a row of metrics.csv or the line of an epoch."""

    parts: dict[str, float] = field(default_factory=dict)
    steps: int = 0
    images: int = 0
    replaced: int = 0
    waiting: float = 0.0
    begin: float = field(default_factory=time.perf_counter)

    def add(self, step: Step) -> None:
        for name, value in step.parts.items():
            self.parts[name] = self.parts.get(name, 0.0) + value
        self.steps += 1
        self.images += step.images
        self.replaced += step.replaced
        self.waiting += step.waiting

    def means(self) -> dict[str, float]:
        """Mean of every part of the loss; rows a second of all ranks; share of the time spent waiting for data."""
        seconds = time.perf_counter() - self.begin
        means = {name: total / self.steps for name, total in self.parts.items()}
        return means | {"images_per_second": self.images / seconds, "waiting_for_data": self.waiting / seconds}


def train(training: Training) -> bool:
    """Trains to the last step. False where it was asked to stop before (a checkpoint is then written).

    Raises FloatingPointError on all ranks together, before the optimiser's step, when the loss isn't finite.
    """
    settings, accelerator = training.settings, training.accelerator
    main = accelerator.is_main_process
    metrics = MetricsFile(training.folder / "metrics.csv", training.step) if main else None
    every = settings.train.checkpoint_steps or training.steps_per_epoch
    bar = tqdm(
        total=training.steps,
        initial=training.step,
        unit="step",
        disable=not (main and sys.stderr.isatty()),
        leave=False,
    )
    interval, epoch_interval = Interval(), Interval()
    set_training_mode(training)
    with bar, contextlib.closing(training.batches):
        while training.step < training.steps:
            done = train_step(training)
            training.step += 1
            training.replaced.count += done.replaced
            bar.update()
            for sums in (interval, epoch_interval):
                sums.add(done)
            if main and (training.step % settings.train.log_steps == 0 or training.step == training.steps):
                record(training, metrics, interval)
                interval = Interval()
            if main and training.step % training.steps_per_epoch == 0:
                log.info(epoch_line(training, epoch_interval))
                epoch_interval = Interval()
            if training.step % every == 0 or training.step == training.steps or done.stop:
                checkpoint(training)
            if done.stop:
                log.info(f"asked to stop: checkpoint written after step {training.step}")
                return training.step == training.steps
    return True


def train_step(training: Training) -> Step:
    settings, accelerator = training.settings, training.accelerator
    factor = learning_rate_factor(training.step / training.steps_per_epoch, settings.train.epochs, settings.optimizer)
    set_learning_rate(training.optimizer, factor)
    sums: dict[str, torch.Tensor] = {}
    images, replaced, waiting = 0, 0, 0.0
    accumulate = settings.train.accumulate
    for number in range(accumulate):
        begin = time.perf_counter()
        batch = next(training.batches)
        waiting += time.perf_counter() - begin
        images += len(batch) * accelerator.num_processes
        replaced += batch.replaced
        last = number == accumulate - 1
        with contextlib.nullcontext() if last else accelerator.no_sync(training.network):
            parts = loss_of(training, batch)
            accelerator.backward(parts["loss"] / accumulate)
        del batch  # its memory is free for the next one
        for name, value in parts.items():
            sums[name] = sums.get(name, 0) + value.detach() / accumulate
    parts, replaced, stop = agree(training, sums, replaced)
    if settings.optimizer.clip is not None:
        accelerator.clip_grad_norm_(training.network.parameters(), settings.optimizer.clip)
    training.optimizer.step()
    training.optimizer.zero_grad(set_to_none=True)
    if training.average is not None:
        training.average.update(accelerator.unwrap_model(training.network), training.step)
    return Step(parts, images, replaced, waiting, stop)


def loss_of(training: Training, batch: Batch) -> dict[str, torch.Tensor]:
    """Parts of the loss: the metric losses over the rows of all ranks, the identity loss over this rank's."""
    images = batch.images
    if training.settings.train.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    with training.accelerator.autocast():
        output = training.network(images, batch.modality)
    return training.loss(
        logits=output.logits,
        labels=batch.label,
        pooled=gather_rows(output.pooled),
        pooled_labels=gather_rows(batch.label),
        pooled_modality=batch.modality * training.accelerator.num_processes,
    )


def agree(training: Training, parts: dict[str, torch.Tensor], replaced: int) -> tuple[dict[str, float], int, bool]:
    """Of all ranks: mean parts of the loss, images replaced, whether any was asked to stop. One exchange a step."""
    stop_file = os.environ.get("STOP_FILE")
    asked = training.accelerator.is_main_process and stop_file is not None and os.path.exists(stop_file)
    counts = [torch.full_like(parts["loss"], float(count)) for count in (replaced, asked)]
    *values, replaced, stop = mean_over_ranks(torch.stack([*parts.values(), *counts]).float()).tolist()
    means = dict(zip(parts, values, strict=True))
    if not all(math.isfinite(value) for value in values):
        shown = ", ".join(f"{name} {value:g}" for name, value in means.items())
        raise FloatingPointError(
            f"the loss of step {training.step} is not finite ({shown}); the newest checkpoint in "
            f"{training.folder / 'checkpoints'} is intact. Lower optimizer.lr, set optimizer.clip or use fp32"
        )
    return means, round(replaced * training.accelerator.num_processes), stop > 0


def set_training_mode(training: Training) -> None:
    """Training mode; norm layers stay in evaluation mode where their statistics are frozen."""
    training.network.train()
    if training.settings.train.norm == "frozen":
        for module in training.network.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.eval()


def checkpoint(training: Training) -> None:
    save_checkpoint(
        training.accelerator,
        training.folder / "checkpoints",
        training.step,
        training.settings.train.keep_checkpoints,
    )


def record(training: Training, metrics: MetricsFile, interval: Interval) -> None:
    """A row of metrics.csv, and the trackers'."""
    position = {
        "step": training.step,
        "epoch": training.step / training.steps_per_epoch,
        "lr": training.optimizer.param_groups[-1]["lr"],
    }
    row = position | interval.means() | {"replaced_images": interval.replaced}
    metrics.append(row)
    training.accelerator.log(row, step=training.step)


def epoch_line(training: Training, interval: Interval) -> str:
    means = interval.means()
    speed, waiting = means.pop("images_per_second"), means.pop("waiting_for_data")
    groups = " ".join(f"{name} {means[name]:.3f}" for name in ("loss", "identity", "intra", "cross") if name in means)
    epoch = training.step // training.steps_per_epoch
    lr = training.optimizer.param_groups[-1]["lr"]
    return (
        f"epoch {epoch}/{training.settings.train.epochs} step {training.step}: {groups} lr {lr:.2e} "
        f"{speed:.0f} images/s, {waiting:.1%} waiting for data"
        + (f", {interval.replaced} images replaced" if interval.replaced else "")
    )
