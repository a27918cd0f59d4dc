"""Training steps beside the plain loop of public code: rows a second, share of the device's peak, waiting for data.

    python -m benchmarks.step CONFIG [key=value ...]        on a GPU with train.precision=bf16 train.compile=true

Trains the configuration in a temporary run folder, then repeats steps on one batch that is there already. The plain
loop has the same network and batch, in float32 and torch's own memory layout: forward, cross entropy and batch-hard
triplets by a matrix product, backward, an optimiser that goes through the tensors, and the loss read at every step.
The peak is that of a large matrix product in the precision of the steps.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from pipeline.batch import Batch
from pipeline.build import build_index, build_network, build_table
from pipeline.config import load_config
from pipeline.distributed import create_accelerator
from pipeline.run.folder import open_run
from pipeline.settings import Settings
from pipeline.train import prepare_training
from pipeline.training.step import Training, set_training_mode, train_step

WARM_UP, STEPS = 5, 25
PEAK_SIZE = {"cuda": 8192, "cpu": 2048}  # of the matrices whose product shows the peak
PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds_of(repeated: Callable[[], object], times: int = STEPS) -> float:
    """Seconds of a call, mean over `times` after WARM_UP."""
    for _ in range(WARM_UP):
        repeated()
    synchronize()
    begin = time.perf_counter()
    for _ in range(times):
        repeated()
    synchronize()
    return (time.perf_counter() - begin) / times


def ours(training: Training) -> tuple[float, float]:
    """Seconds of a step, and the share of the time that it waited for data."""
    waited = []

    def step() -> None:
        waited.append(train_step(training).waiting)
        training.step += 1

    seconds = seconds_of(step)
    return seconds, sum(waited[WARM_UP:]) / STEPS / seconds


def plain(settings: Settings, identities: int, batch: Batch, device: torch.device) -> float:
    """Seconds of a step of the plain loop."""
    network = build_network(settings, identities).to(device).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9, nesterov=True, weight_decay=5e-4)
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

    return seconds_of(step)


def objective(training: Training, batch: Batch) -> float:
    """Seconds of the losses alone, forward and backward, with the exchange of features between the processes."""
    network = training.accelerator.unwrap_model(training.network)
    with torch.no_grad(), training.accelerator.autocast():
        made = network(batch.images, batch.modality)
    output = type(made)(*(part.detach().clone().requires_grad_() for part in made))
    return seconds_of(lambda: training.loss(output, batch)["loss"].backward())


def operations(training: Training, batch: Batch) -> float:
    """Floating-point operations of a forward and backward pass."""
    network = training.accelerator.unwrap_model(training.network)
    with FlopCounterMode(display=False) as counter:
        output = network(batch.images, batch.modality)
        (output.logits.sum() + output.pooled.sum()).backward()
    training.optimizer.zero_grad()
    return counter.get_total_flops()


def peak(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large matrix product."""
    size = PEAK_SIZE[device.type]
    matrix = torch.randn(size, size, device=device, dtype=dtype)
    return 2 * size**3 / seconds_of(lambda: matrix @ matrix, times=5)


def main(argv: list[str] | None = None) -> None:
    settings = load_config(sys.argv[1:] if argv is None else argv, name_required=True)
    with tempfile.TemporaryDirectory() as folder:
        settings = replace(settings, output=folder, train=replace(settings.train, epochs=1, steps_per_epoch=1000))
        accelerator = create_accelerator(settings, folder)
        open_run(settings)
        index = build_index(settings.data)
        table = build_table(settings, index)
        training = prepare_training(settings, accelerator, index, table)
        set_training_mode(training)
        with_loader, waiting = ours(training)
        batch = next(training.batches)
        training.batches.close()
        training.batches = itertools.repeat(batch)
        in_memory, _ = ours(training)
        of_losses = objective(training, batch)
        work = operations(training, batch)
        beside = plain(settings, len(table.identities), batch, accelerator.device)
    if not accelerator.is_main_process:
        return
    dtype = PRECISIONS.get(accelerator.mixed_precision, torch.float32)
    highest = peak(accelerator.device, dtype)
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    size = f"{settings.augment.height}x{settings.augment.width}"
    print(f"{settings.model.backbone} {size}, {len(batch)} rows a step, {work / 1e9:.1f} GFLOP, {where}, {dtype}")
    print(f"{'':>22} {'rows/s':>8} {'x plain':>8} {'of peak':>8}")
    for name, seconds in (
        ("plain loop, float32", beside),
        ("ours, batch in memory", in_memory),
        ("ours, with the loader", with_loader),
    ):
        share = work / seconds / highest
        print(f"{name:>22} {len(batch) / seconds:>8.0f} {beside / seconds:>8.2f} {share:>8.1%}")
    print(f"losses and the exchange of features: {1000 * of_losses:.1f} ms, {of_losses / in_memory:.1%} of a step")
    print(f"with the loader {waiting:.1%} of the time went by waiting for data; peak {highest / 1e12:.2f} TFLOP/s")


if __name__ == "__main__":
    main()
