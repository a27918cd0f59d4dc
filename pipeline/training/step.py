"""The state of a training, and one optimizer step of it, which is queued on the device and read later."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from timm.utils import ModelEmaV3

from pipeline.batch import Batch
from pipeline.gathering import mean_over_ranks
from pipeline.loading.replacement import ReplacedCount
from pipeline.losses.term import Parts
from pipeline.methods.method import Method, Player
from pipeline.models.norm import average_buffers, freeze_statistics, statistics_kept
from pipeline.optimization import set_learning_rate
from pipeline.run.checkpoint import checkpoints
from pipeline.settings import Settings
from pipeline.tracking import Trackers
from pipeline.training.freezing import drop_gradients, frozen_steps
from pipeline.training.stopping import StopRequest
from pipeline.training.validation import Validation


@dataclass
class Training:
    """The state that the loop works on.

    `method`, and the optimizers of `players`, are prepared by Accelerate; `batches` start at `step`.
    """

    settings: Settings
    accelerator: Accelerator
    norm: str  # one of `pipeline.models.norm.NORMS`
    method: torch.nn.Module
    players: list[Player]
    batches: Generator[Batch, None, None]
    steps_per_epoch: int
    identities: int  # trained on
    folder: Path
    step: int = 0
    first_step: int | None = None  # of this start
    average: ModelEmaV3 | None = None
    replaced: ReplacedCount = field(default_factory=ReplacedCount)
    validation: Validation | None = None
    stop: StopRequest = field(default_factory=StopRequest)
    trackers: Trackers = field(default_factory=Trackers)

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to train: after the last step, or the validation that ends the training."""
        return self.step >= self.steps or (self.validation is not None and self.validation.ends_training)

    @property
    def steps(self) -> int:
        return self.settings.train.epochs * self.steps_per_epoch

    @property
    def frozen_steps(self) -> int:
        """Number of first steps in which the pre-trained part of the method stands still."""
        return frozen_steps(self.settings, self.steps_per_epoch)

    @property
    def bare_method(self) -> Method:
        """The method without what Accelerate wraps it in."""
        return self.accelerator.unwrap_model(self.method)

    @property
    def tested(self) -> torch.nn.Module:
        return self.average.module if self.average else self.bare_method.tested

    @property
    def lr(self) -> float:
        """The learning rate of the group "heads"; of the last group where no group has that name."""
        groups = {group.get("name", ""): group["lr"] for group in self.players[0].optimizer.param_groups}
        return groups.get("heads", [*groups.values()][-1])


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
    settings, accelerator = training.settings, training.accelerator
    if 0 < training.frozen_steps == training.step:
        set_training_mode(training)
    # The learning rate is a function of the step, and so is the stage of a method.
    training.bare_method.begin_step(training.step, training.steps_per_epoch)
    for player in training.players:
        set_learning_rate(player.optimizer, player.schedule(training.step / training.steps_per_epoch))
    sums: dict[str, torch.Tensor] = {}
    images, replaced, waiting = 0, 0, 0.0
    # Gradients of `accumulate` batches add up; ranks exchange them with the last.
    accumulate = settings.train.grad_accum_steps
    for number in range(accumulate):
        begin = time.perf_counter()
        batch = next(training.batches)
        waiting += time.perf_counter() - begin
        images += settings.batch.rows
        replaced += batch.replaced
        last = number == accumulate - 1
        with contextlib.nullcontext() if last else accelerator.no_sync(training.method):
            parts = loss_of(training, batch)
            with backward_context(training):
                accelerator.backward(parts["loss"] / accumulate)
        del batch  # its memory is free for the next one
        for name, value in parts.items():
            sums[name] = sums.get(name, 0) + value.detach() / accumulate
    if training.first_step is None:
        training.first_step = training.step
        check_gradients(training.bare_method)
    if training.step < training.frozen_steps:
        drop_gradients(training.bare_method.pretrained_parameters())
    drop_gradients(training.bare_method.held_still(training.step, training.steps_per_epoch))
    # The metrics are queued for exchange before the optimizer steps, so that the host can read them meanwhile.
    sums["gradient_norm"] = gradient_norm(training)
    values = exchange(training, sums, replaced)
    for player in training.players:
        player.optimizer.step()
        player.optimizer.zero_grad(set_to_none=True)
    # Buffers must be equal on all ranks (`pipeline.distributed`); then the moving average of the weights follows.
    if training.norm == "local":
        average_buffers(training.bare_method)
    if training.average is not None:
        training.average.update(training.bare_method.tested, training.step)
    return QueuedStep(training.step + 1, [*sums], values, images, waiting)


def backward_context(training: Training) -> contextlib.AbstractContextManager[None]:
    """Returns the context of a backward pass: one that runs layers again must not count a batch twice."""
    again = training.settings.model.grad_checkpointing
    return statistics_kept(training.bare_method) if again else contextlib.nullcontext()


def check_gradients(method: Method) -> None:
    """Raises ValueError naming a parameter without a gradient: ranks would wait for it, and weight decay shrink it."""
    missing = [
        name for name, parameter in method.named_parameters() if parameter.requires_grad and parameter.grad is None
    ]
    if missing:
        others = f", nor {len(missing) - 1} others" if len(missing) > 1 else ""
        raise ValueError(
            f"method: {missing[0]} got no gradient in the first step{others}; every trained parameter needs one in "
            "each step: use it in a loss, or set its requires_grad to False"
        )


def gradient_norm(training: Training) -> torch.Tensor:
    """Returns the Euclidean norm of the gradient, a scalar on the device, and clips it as `optimizer` says."""
    parameters = [parameter for parameter in training.method.parameters() if parameter.grad is not None]
    training.accelerator.unscale_gradients([player.optimizer for player in training.players])
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if training.settings.optimizer.clip_grad_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(parameters, training.settings.optimizer.clip_grad_norm, norm)
    return norm.detach()


def loss_of(training: Training, batch: Batch) -> Parts:
    if training.settings.train.channels_last:
        batch = dataclasses.replace(batch, images=batch.images.contiguous(memory_format=torch.channels_last))
    return training.method(batch)


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
            + ". Lower optimizer.lr, set optimizer.clip_grad_norm or use fp32"
        )
    return Step(parts, queued.images, round(replaced * training.accelerator.num_processes), queued.waiting, stop > 0)
