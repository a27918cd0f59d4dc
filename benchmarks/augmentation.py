"""Compares the training loader, in captured images a second, with and without the augmentation of today's methods.

    python -m benchmarks.augmentation [--device auto] [--size 384x128] [--batches 40] [--warm-up 4]

Every batch has the captured images and one more view of each. All are timed in turn, several times, until their tensors
are on the device; from the files of the folder, and from packs of resized images, where nothing is decoded.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from benchmarks.devices import add_device_option, describe_device
from benchmarks.loader import (
    BATCH,
    Measured,
    add_data_options,
    add_measuring_options,
    make_data,
    measured_by,
    median_rates,
    size_of,
)
from benchmarks.loading import open_batches
from pipeline.batch import MODALITY_NAMES
from pipeline.errors import one_line_errors
from pipeline.loading.hardware import usable_cores
from pipeline.settings import AugmentSettings, BatchSettings, DataSettings, DeriveSettings, Settings

SECOND = DeriveSettings(visible=["identity"], infrared=["identity"])
ERASED = AugmentSettings(random_erasing_prob=0.5, random_erasing_fill=(0.4914, 0.4822, 0.4465))
ADAPTIVE_GRAY = ["normalize", "random_channel:0.75", "gray:0.5"]
RECIPES = {
    "second views": (AugmentSettings(), SECOND),
    "gray, spectrum (the paper)": (AugmentSettings(), DeriveSettings()),
    "second views, gray padding": (AugmentSettings(pad_fill=127), SECOND),
    "second views, erased": (ERASED, SECOND),
    "CAJ's operations": (
        replace(ERASED, infrared=ADAPTIVE_GRAY),
        DeriveSettings(visible=["normalize", "random_channel"], infrared=["identity"]),
    ),
    "MSCMNet's four streams": (
        replace(ERASED, visible=["gray:0.5"], infrared=["normalize", "green:0.5", "gray:0.5"]),
        DeriveSettings(["normalize", "random_channel"], ["brightness", "normalize", "channel_gains:0.5"]),
    ),
    "colors jittered": (
        replace(ERASED, visible=["brightness", "contrast", "saturation", "hue"], infrared=["brightness"]),
        SECOND,
    ),
}


def started(data: DataSettings, device: torch.device) -> dict[str, Callable[[], Iterator]]:
    """Returns name of a recipe -> how to start its loader."""
    batch = BatchSettings(modalities=list(MODALITY_NAMES))
    made = {
        name: Settings(data=data, batch=batch, augment=augment, derive=derive)
        for name, (augment, derive) in RECIPES.items()
    }
    return {name: partial(open_batches, settings, device) for name, settings in made.items()}


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.augmentation", description=__doc__.splitlines()[0])
    add_device_option(parser)
    add_data_options(parser)
    add_measuring_options(parser)
    options = parser.parse_args(argv)
    measured = measured_by(options)
    with tempfile.TemporaryDirectory() as temporary:
        data = make_data(Path(temporary), *size_of(options.size), options.identities)
        print(f"\nfiles {options.size}, output 288x144, batches of {BATCH} and as many second views, ", end="")
        print(f"{usable_cores()} cores, {describe_device(measured.device)}; medians of {options.rounds} rounds")
        for form in ("set", "resized"):
            compare(form, started(replace(data, root=f"{temporary}/{form}"), measured.device), measured, options.rounds)


def compare(form: str, loaders: dict[str, Callable[[], Iterator]], measured: Measured, count: int) -> None:
    """Times every loader in turn and prints the medians, the first of which is the measure of the others."""
    rates = median_rates(loaders, measured, count)
    first = next(iter(rates.values()))
    print(f"\n{'folder' if form == 'set' else 'resized pack':>27}  captured images/s  x second views")
    for name, value in rates.items():
        print(f"{name:>27} {value:>18.0f} {value / first:>15.2f}", flush=True)


if __name__ == "__main__":
    main()
