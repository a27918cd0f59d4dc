"""Where the time of a training step goes: rows a second with the loader, without it, and the share spent waiting.

    python -m benchmarks.step CONFIG [key=value ...]

Trains 30 steps of the configuration in a temporary run folder, then repeats steps on one batch that is there already.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from dataclasses import replace

import torch

from pipeline.build import build_index, build_table
from pipeline.config import load_config
from pipeline.distributed import create_accelerator
from pipeline.run_folder import open_run
from pipeline.train import prepare_training
from pipeline.trainer import Training, set_training_mode, train_step

WARM_UP, STEPS = 5, 25


def measure(training: Training) -> tuple[float, float]:
    """Rows a second over STEPS steps after WARM_UP, and the share of the time that they waited for data."""
    for _ in range(WARM_UP):
        train_step(training)
        training.step += 1
    rows, waited = 0, 0.0
    begin = time.perf_counter()
    for _ in range(STEPS):
        _, images, waiting, _ = train_step(training)
        training.step += 1
        rows, waited = rows + images, waited + waiting
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds = time.perf_counter() - begin
    return rows / seconds, waited / seconds


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
        with_loader, waiting = measure(training)
        batch = next(training.batches)
        training.batches.close()
        training.batches = itertools.repeat(batch)
        without, _ = measure(training)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    print(f"{settings.model.backbone} {settings.augment.height}x{settings.augment.width}, {len(batch)} rows, {device}")
    print(f"with the loader      {with_loader:8.0f} rows/s, {waiting:.1%} of the time waiting for data")
    print(f"on a batch in memory {without:8.0f} rows/s")


if __name__ == "__main__":
    main()
