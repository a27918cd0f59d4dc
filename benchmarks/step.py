"""Compares training steps with the plain loop of public code: rows a second, share of the peak, waiting for data.

    python -m benchmarks.step CONFIG [key=value ...]        on a GPU with train.precision=bf16 train.compile=true

Trains the configuration in a temporary run folder, then repeats steps on one batch that is there already. The plain
loop has the same network, batch and optimizer, in float32 and torch's own memory layout: forward, cross entropy and
batch-hard triplets by a matrix product, backward, optimizer, and the loss read at every step. TF32 and cuDNN's choice
of algorithms are the same for both and are printed. The peak is that of a large matrix product in the precision of the
steps that it is compared with, in TF32 where float32 convolutions may use it.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from unittest import mock

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.devices import describe_device, seconds_of
from pipeline.batch import Batch
from pipeline.build import build_divided_index, build_table
from pipeline.config import load_config
from pipeline.distributed import create_accelerator
from pipeline.errors import one_line_errors
from pipeline.losses.term import FEATURES, Rows
from pipeline.methods.method import TRAIN, Share, method_of
from pipeline.run.folder import open_run
from pipeline.run.provenance import starting_facts
from pipeline.settings import Settings
from pipeline.training.prepare import prepare_training
from pipeline.training.state import Training
from pipeline.training.step import set_training_mode, train_step

WARM_UP, STEPS = 5, 25
PEAK_SIZE = {"cuda": 8192, "cpu": 2048}  # of the matrices whose product shows the peak
PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}


def ours(training: Training) -> tuple[float, float]:
    """Seconds of a step, and the share of the time that it waited for data."""
    waited = []

    def step() -> None:
        waited.append(train_step(training).waiting)
        training.step += 1

    seconds = seconds_of(step, training.accelerator.device, STEPS, WARM_UP)
    return seconds, sum(waited[WARM_UP:]) / STEPS / seconds


def plain(settings: Settings, identities: int, batch: Batch, device: torch.device) -> float:
    """Seconds of a step of the plain loop."""
    method = method_of(settings).build(settings, identities, Share(0, (settings.batch.ids_per_batch,)))
    network = method.tested.to(device).train()
    optimizer = method.players(settings)[0].optimizer
    images = batch.images.float().contiguous()
    same = batch.label[:, None] == batch.label[None, :]

    def step() -> None:
        output = network(images, batch.modality)
        squares = output.pooled.pow(2).sum(dim=1)
        distance = torch.addmm(squares[:, None] + squares[None, :], output.pooled, output.pooled.T, alpha=-2)
        distance = distance.clamp(min=1e-12).sqrt()
        positive, negative = (distance - 1e9 * ~same).amax(dim=1), (distance + 1e9 * same).amin(dim=1)
        loss = torch.nn.functional.cross_entropy(output.logits, batch.label)
        loss = loss + torch.relu(0.3 + positive - negative).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    return seconds_of(step, device, STEPS, WARM_UP)


def objective(training: Training, batch: Batch) -> float:
    """Seconds of the losses alone, forward and backward, with the exchange of features between the processes."""
    method = training.bare_method
    with torch.no_grad(), training.accelerator.autocast():
        made = method.network(batch.images, batch.modality).features
    features = {
        name: Rows(
            {what: getattr(feature, what).detach().float().requires_grad_() for what in FEATURES},
            batch.label,
            batch.modality,
        )
        for name, feature in made.items()
    }
    device = training.accelerator.device
    return seconds_of(lambda: method.objective(features)["loss"].backward(), device, STEPS, WARM_UP)


def operations(training: Training, batch: Batch) -> float:
    """Returns floating-point operations of a forward and backward pass."""
    network = training.bare_method.network
    with FlopCounterMode(display=False) as counter:
        output = network(batch.images, batch.modality)
        (output.logits.sum() + output.pooled.sum()).backward()
    training.method.zero_grad()
    return counter.get_total_flops()


def peak(device: torch.device, dtype: torch.dtype) -> float:
    """Returns floating-point operations a second of a large matrix product, in TF32 where convolutions may use it."""
    size = PEAK_SIZE[device.type]
    matrix = torch.randn(size, size, device=device, dtype=dtype)
    with products_as_convolutions():
        return 2 * size**3 / seconds_of(lambda: matrix @ matrix, device, times=5, warm_up=WARM_UP)


@contextlib.contextmanager
def products_as_convolutions() -> Iterator[None]:
    """Lets matrix products inside use TF32 where convolutions do."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


@dataclass(frozen=True)
class Measured:
    """Measurements of a configuration: seconds of a step of each kind, floating-point operations of one, rows of
    it, share of the time that went by waiting for data."""

    plain: float
    in_memory: float
    with_loader: float
    losses: float
    operations: float
    rows: int
    waiting: float


def measure(training: Training, identities: int) -> Measured:
    set_training_mode(training)
    with_loader, waiting = ours(training)
    batch = training.batches.take(TRAIN, training.step)
    training.batches.close()
    with mock.patch.object(training.batches, "take", return_value=batch):
        in_memory, _ = ours(training)
    of_losses, work = objective(training, batch), operations(training, batch)
    plain_loop = plain(training.settings, identities, batch, training.accelerator.device)
    return Measured(plain_loop, in_memory, with_loader, of_losses, work, len(batch), waiting)


def show(measured: Measured, settings: Settings, device: torch.device, dtype: torch.dtype) -> None:
    size = f"{settings.augment.height}x{settings.augment.width}"
    precision = str(dtype).removeprefix("torch.")
    print(f"{settings.model.backbone} {size}, {measured.rows} rows a step, {measured.operations / 1e9:.1f} GFLOP")
    print(f"ours in {precision}; {describe_device(device, 'plain loop in float32')}")
    print(f"both: {settings.optimizer.name}, fused; cudnn.benchmark {torch.backends.cudnn.benchmark}")
    print(f"{'':>22} {'rows/s':>8} {'x plain':>8} {'of peak':>8} {'TFLOP/s':>8}")
    peaks = {kind: peak(device, kind) for kind in {dtype, torch.float32}}
    for name, seconds, kind in (
        ("plain loop, float32", measured.plain, torch.float32),
        ("ours, batch in memory", measured.in_memory, dtype),
        ("ours, with the loader", measured.with_loader, dtype),
    ):
        share = measured.operations / seconds / peaks[kind]
        rate, faster = measured.rows / seconds, measured.plain / seconds
        print(f"{name:>22} {rate:>8.0f} {faster:>8.2f} {share:>8.1%} {peaks[kind] / 1e12:>8.2f}")
    of_step = measured.losses / measured.in_memory
    print(f"losses and the exchange of features: {1000 * measured.losses:.1f} ms, {of_step:.1%} of a step")
    print(f"with the loader {measured.waiting:.1%} of the time went by waiting for data")


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step", description=__doc__.splitlines()[0])
    parser.add_argument("arguments", nargs="+", metavar="CONFIG|key=value", help="as for training")
    settings = load_config(parser.parse_args(argv).arguments, name_required=True)
    with tempfile.TemporaryDirectory() as folder:
        settings = replace(settings, output=folder, train=replace(settings.train, epochs=1, steps_per_epoch=1000))
        accelerator = create_accelerator(settings, folder)
        open_run(settings, facts=starting_facts(settings, accelerator))
        index = build_divided_index(settings)
        table = build_table(settings, index)
        training = prepare_training(settings, accelerator, index, table)
        measured = measure(training, len(table.identities))
    if accelerator.is_main_process:
        dtype = PRECISIONS.get(accelerator.mixed_precision, torch.float32)
        show(measured, settings, accelerator.device, dtype)


if __name__ == "__main__":
    main()
