"""A step of a training, which is queued on the device and read later."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from pipeline.gathering import mean_over_ranks
from pipeline.methods.game import Game
from pipeline.models.norm import average_buffers, freeze_statistics
from pipeline.optimization import set_learning_rate
from pipeline.run.checkpoint import checkpoints
from pipeline.training.backward import collect_gradients, move
from pipeline.training.play import play
from pipeline.training.state import Training
from pipeline.training.taking import StepBatches


@dataclass
class QueuedStep:
    """An optimizer step that the device may still be running.

    number   from 1
    names    of its metrics: the parts of the loss, and `gradient_norm`
    values   reads the metrics and the counts once they are there
    images   rows seen
    waiting  seconds this rank waited for data
    """

    number: int
    names: list[str]
    values: Callable[[], list[float]]
    images: int
    waiting: float


@dataclass
class Step:
    """What happened in one optimizer step.

    parts     means of the parts of the loss, and the norm of the gradient, before clipping and infinite where fp16's
              scaler skipped the step
    images    rows seen, of all ranks
    replaced  captured images replaced, of all ranks
    waiting   seconds this rank waited for data
    stop      whether the training was asked to stop
    """

    parts: dict[str, float]
    images: int
    replaced: int
    waiting: float
    stop: bool


def set_training_mode(training: Training) -> None:
    """Sets the mode of the next step: training; norm layers whose statistics are frozen stay in evaluation mode."""
    training.method.train()
    if training.norm == "frozen" or training.step < training.frozen_steps:
        freeze_statistics(training.bare_method.pretrained_norms())


def train_step(training: Training) -> QueuedStep:
    """Queues a step; nothing waits for the device."""
    if 0 < training.frozen_steps == training.step:
        set_training_mode(training)
    # The learning rate is a function of the step, and so is the stage of a method.
    training.bare_method.begin_step(training.step, training.steps_per_epoch)
    for player in training.players:
        set_learning_rate(player.optimizer, player.schedule(training.step / training.steps_per_epoch))
    taken, game = StepBatches(training), isinstance(training.bare_method, Game)
    metrics = play(training, taken) if game else collect_gradients(training, taken)
    if training.first_step is None:
        training.first_step = training.step
    # The metrics are queued for exchange before the one optimizer steps, so that the host can read them meanwhile.
    values = exchange(training, metrics, taken.replaced)
    if not game:
        move(training)
    # Buffers must be equal on all ranks (`pipeline.distributed`); then the moving average of the weights follows.
    if training.norm == "local" or game and training.accelerator.num_processes > 1:
        average_buffers(training.bare_method)
    if training.average is not None:
        training.average.update(training.bare_method.tested, training.step)
    return QueuedStep(training.step + 1, [*metrics], values, taken.images, taken.waiting)


def exchange(training: Training, parts: dict[str, torch.Tensor], replaced: int) -> Callable[[], list[float]]:
    """Queues the one exchange of a step; the call it returns reads the means over all ranks.

    They are the metrics of the step, the images replaced, and how many ranks were asked to stop.
    """
    # one rank looks for the file, every rank may have got a signal
    asked = training.stop.asked() if training.accelerator.is_main_process else training.stop.signalled
    counts = [torch.full_like(parts["loss"], float(count)) for count in (replaced, asked)]
    return read_later(mean_over_ranks(torch.stack([*parts.values(), *counts]).float()))


def read_later(values: torch.Tensor) -> Callable[[], list[float]]:
    """Starts the copy of `values` to the host; the call it returns waits for them, not for what was queued after."""
    if values.device.type == "cpu":
        return values.tolist
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True).copy_(values, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record()

    def read() -> list[float]:
        arrived.synchronize()
        return host.tolist()

    return read


def read_step(training: Training, queued: QueuedStep) -> Step:
    """Waits for a step. Raises FloatingPointError, on all ranks, where its loss or its gradient isn't finite.

    An infinite gradient is no failure under fp16, whose scaler then skips the step and lowers its scale.
    """
    *values, replaced, stop = queued.values()
    parts = dict(zip(queued.names, values, strict=True))
    may_skip = training.accelerator.scaler is not None
    broken = [name for name, value in parts.items() if not math.isfinite(value)]
    if may_skip and broken == ["gradient_norm"]:
        parts["gradient_norm"] = math.inf
    elif broken:
        what = "gradient" if broken == ["gradient_norm"] else "loss"
        ordered = {name: parts[name] for name in (*broken, *parts)}
        shown = ", ".join(f"{name} {value:g}" for name, value in ordered.items())
        saved = checkpoints(training.folder / "checkpoints")
        raise FloatingPointError(
            f"the {what} of step {queued.number} is not finite ({shown}); "
            + (f"the newest checkpoint, {saved[-1]}, is intact" if saved else "no checkpoint was written yet")
            + f". Lower {lr_keys(training)}, set optimizer.clip_grad_norm or use fp32"
        )
    return Step(parts, queued.images, round(replaced * training.accelerator.num_processes), queued.waiting, stop > 0)


def lr_keys(training: Training) -> str:
    """Returns the keys of the learning rates."""
    of_images = " or method.image_optimizer.lr" if isinstance(training.settings.method, Game.Options) else ""
    return f"optimizer.lr{of_images}"
