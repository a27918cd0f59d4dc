"""The training loop: steps, rows of metrics, checkpoints."""

from __future__ import annotations

import contextlib
import logging
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tqdm import tqdm

from pipeline.metric_columns import MEASURED, VALIDATION, main_parts
from pipeline.run.checkpoint import save_checkpoint
from pipeline.run.metrics import MetricsFile
from pipeline.training.keeping import keep_best
from pipeline.training.sheets import Sheets
from pipeline.training.state import Training
from pipeline.training.step import QueuedStep, Step, read_step, set_training_mode, train_step

log = logging.getLogger("pipeline")


@dataclass
class Interval:
    """Sums over some steps, for a row of metrics.csv or the line of an epoch."""

    parts: dict[str, list[float]] = field(default_factory=dict)
    images: int = 0
    replaced: int = 0
    waiting: float = 0.0
    begin: float = field(default_factory=time.perf_counter)

    def leave_out(self, seconds: float) -> None:
        """Takes time that wasn't spent on steps out of the rows a second."""
        self.begin += seconds

    def add(self, step: Step) -> None:
        for name, value in step.parts.items():
            self.parts.setdefault(name, []).append(value)
        self.images += step.images
        self.replaced += step.replaced
        self.waiting += step.waiting

    def means(self) -> dict[str, float]:
        """Returns the mean of every part of the loss and of the gradient's norm, where a step has one.

        And rows a second of all ranks, and the share of the time spent waiting for data.
        """
        seconds = time.perf_counter() - self.begin
        names = sorted(self.parts, key=lambda name: name in MEASURED)  # stages have parts of their own
        means = {name: mean_of_finite(self.parts[name]) for name in names}
        return means | {"images_per_second": self.images / seconds, "waiting_for_data": self.waiting / seconds}


def mean_of_finite(values: list[float]) -> float:
    """Returns the mean of the finite values; infinity where none is."""
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.inf


def train(training: Training, sheets: Sheets | None = None) -> bool:
    """Trains to the last step. Returns False where it was asked to stop before (a checkpoint is then written).

    Raises FloatingPointError on all ranks together, before a checkpoint is written, when a loss or a gradient isn't
    finite; KeyboardInterrupt after the checkpoint where Ctrl-C asked for it.
    """
    training.stop.saves = True
    try:
        return loop(training, sheets)
    finally:
        training.stop.saves = False


@dataclass(frozen=True)
class Due:
    """What follows a step: a row of metrics.csv, the line of an epoch, a validation, a checkpoint."""

    row: bool
    epoch: bool
    validation: bool
    checkpoint: bool

    @classmethod
    def after(cls, training: Training) -> Due:
        settings, step = training.settings.train, training.step
        last, validation = step == training.steps, training.validation
        validated = validation is not None and (last or step % validation.steps == 0)
        checkpoint_steps = settings.checkpoint_steps or training.steps_per_epoch
        # A validation is kept in a checkpoint of its own step: what it decides is then never decided twice.
        return cls(
            row=last or validated or step % settings.log_steps == 0,
            epoch=step % training.steps_per_epoch == 0,
            validation=validated,
            checkpoint=last or validated or step % checkpoint_steps == 0,
        )


def loop(training: Training, sheets: Sheets | None) -> bool:
    """Runs the steps that are left. Returns and raises what `train` does."""
    main = training.accelerator.is_main_process
    metrics = MetricsFile(training.folder / "metrics.csv", training.step) if main else None
    interval, epoch_interval = Interval(), Interval()
    queued: list[QueuedStep] = []
    set_training_mode(training)
    keep_best(training)  # where a kill came between a checkpoint and these weights
    with progress_bar(training) as bar, contextlib.closing(training.batches):
        while not training.ended:
            queued.append(train_step(training))
            training.step += 1
            bar.update()
            due = Due.after(training)
            # Results are read one step late, so that the device never waits for the host; without delay only where
            # something is about to be written: a row, an epoch's line, a checkpoint.
            pause = due.row or due.epoch or due.checkpoint
            stop = read_steps(training, queued, (interval, epoch_interval), newest_too=pause)
            if stop:  # a checkpoint follows: the newest step must be known to be finite as well
                read_steps(training, queued, (interval, epoch_interval), newest_too=True)
            show(training, sheets, (interval, epoch_interval))
            found = validate(training, (interval, epoch_interval)) if due.validation else {}
            # The first rank writes what all have measured together.
            if metrics is not None and due.row:
                record(training, metrics, interval, found)
                interval = Interval()
            if main and due.epoch:
                log.info(epoch_line(training, epoch_interval))
                epoch_interval = Interval()
            if due.checkpoint or stop:
                checkpoint(training)
                keep_best(training)
            # A request that comes with the last step changes nothing, unless it is Ctrl-C, which also ends the
            # evaluation.
            if stop and (not training.ended or training.stop.interrupted):
                announce_stop(training)
                return False
    return True


def show(training: Training, sheets: Sheets | None, sums: Sequence[Interval]) -> None:
    """Has the first rank make the sheet of images that follows this step, if one does."""
    main = training.accelerator.is_main_process
    if sheets is None or not main or not sheets.due(training.step, training.steps):
        return
    begin = time.perf_counter()
    sheets.write(training)
    set_training_mode(training)
    for interval in sums:
        interval.leave_out(time.perf_counter() - begin)


def validate(training: Training, sums: Sequence[Interval]) -> dict[str, float]:
    """Returns the metrics of the tested network, in per cent, and goes back to training mode. Called by all ranks."""
    validation, begin = training.validation, time.perf_counter()
    assert validation is not None
    found = validation.validator.measure(training.tested)
    set_training_mode(training)
    validation.best.add(found[validation.metric], training.step)
    log.info(validation.line(training.step, found))
    for interval in sums:
        interval.leave_out(time.perf_counter() - begin)
    return found


def progress_bar(training: Training) -> tqdm:
    """Returns a bar on the first rank's terminal; one that shows nothing elsewhere."""
    shown = training.accelerator.is_main_process and sys.stderr.isatty()
    return tqdm(total=training.steps, initial=training.step, unit="step", disable=not shown, leave=False)


def announce_stop(training: Training) -> None:
    """Tells the log and the batch script that the training ends early. Raises KeyboardInterrupt after Ctrl-C."""
    log.info(f"asked to stop: checkpoint written after step {training.step}; the same command resumes")
    if training.accelerator.is_main_process:
        training.stop.confirm()
    if training.stop.interrupted:
        raise KeyboardInterrupt


def read_steps(training: Training, queued: list[QueuedStep], sums: Sequence[Interval], *, newest_too: bool) -> bool:
    """Removes the steps from the queue, except the newest, which may still be running, and adds them up.

    Returns whether a rank was asked to stop.
    """
    stop = False
    while len(queued) > (0 if newest_too else 1):
        number, done = queued[0].number, read_step(training, queued.pop(0))
        training.watch.add(number, done.parts)
        training.replaced.count += done.replaced
        for interval in sums:
            interval.add(done)
        stop = stop or done.stop
    return stop


def checkpoint(training: Training) -> None:
    save_checkpoint(
        training.accelerator,
        training.folder / "checkpoints",
        training.step,
        training.settings.train.keep_checkpoints,
    )


def record(training: Training, metrics: MetricsFile, interval: Interval, found: dict[str, float]) -> None:
    """Appends a row to metrics.csv, and to the trackers. found: the metrics of a validation after this step, if any."""
    position = {
        "step": training.step,
        "epoch": training.step / training.steps_per_epoch,
        "lr": training.lr,
    }
    row = position | interval.means() | {"replaced_images": interval.replaced}
    validated = {column: found[name] for column, name in VALIDATION.items() if found}
    empty = dict.fromkeys(VALIDATION) if training.validation is not None else {}
    metrics.append(row | empty | validated)
    training.trackers.log(row | validated, training.step)


def epoch_line(training: Training, interval: Interval) -> str:
    """Returns the line of the log that ends an epoch."""
    means = interval.means()
    speed, waiting = means.pop("images_per_second"), means.pop("waiting_for_data")
    terms = " ".join(f"{name} {means[name]:.3f}" for name in main_parts(list(means)) if name != "gradient_norm")
    epoch = training.step // training.steps_per_epoch
    lr = training.lr
    return (
        f"epoch {epoch}/{training.settings.train.epochs} step {training.step}: {terms} lr {lr:.2e} "
        f"{speed:.0f} images/s, {waiting:.1%} waiting for data"
        + (f", {interval.replaced} images replaced" if interval.replaced else "")
    )
