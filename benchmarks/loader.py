"""Compares the training loader, in captured images a second, with other loaders of the same files on the same cores.

    python -m benchmarks.loader [--device auto] [--size 384x128] [--batches 40] [--warm-up 4]

Ours reads the files of the folder, packed encoded, or packed resized (`pipeline.prepare --pack`, `--resized`). Its
peers are a DataLoader that decodes with PIL and transforms with torchvision v2, one over resized images resident in
memory (`benchmarks.peers`), and the floor: the same files only decoded, by the CPU. All are timed in turn, several
times, until their tensors are on the device; the peers' are copied there from pinned memory. A GPU empties what lies
ready in no time: there more batches are timed, after a longer warm-up.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import torch
from PIL import Image

from benchmarks.devices import add_device_option, choose_device, describe_device, wait_for
from benchmarks.loading import open_batches
from benchmarks.peers import DecodedImages, ResidentImages, batches_of, decoded_only
from pipeline import prepare
from pipeline.batch import MODALITY_NAMES
from pipeline.build import build_index
from pipeline.errors import one_line_errors
from pipeline.loading.hardware import usable_cores
from pipeline.settings import BatchSettings, DataSettings, DeriveSettings, Settings
from pipeline.synthetic.generation import generate

ROUNDS = 3  # timed in turn, so that a change of the machine's speed meets all
BATCH = 64  # captured images: 8 identities, 4 of each modality


@dataclass(frozen=True)
class Measured:
    """Where the tensors are wanted, and how many batches are timed after how many that start things up."""

    device: torch.device
    batches: int
    warm_up: int

    @property
    def all_batches(self) -> int:
        return self.batches + self.warm_up


USUAL_BATCHES = {"cpu": (40, 4), "cuda": (300, 20)}  # kind of device -> timed, and before


def enlarge(root: Path, height: int, width: int) -> None:
    """Returns images of the size that the published data sets have; synthetic ones are smaller."""
    for path in root.rglob("*.jpg"):
        with Image.open(path) as image:
            image.resize((width, height)).save(path, quality=90)


def rate(batches: Iterator, measured: Measured) -> float:
    """Returns captured images a second."""
    for _ in itertools.islice(batches, measured.warm_up):
        pass
    wait_for(measured.device)
    begin = time.perf_counter()
    for batch in itertools.islice(batches, measured.batches):
        del batch
    wait_for(measured.device)
    return BATCH * measured.batches / (time.perf_counter() - begin)


def loaders(folder: Path, settings: Settings, views: int, measured: Measured) -> dict[str, Callable[[], Iterator]]:
    """Returns name -> how to start it."""
    workers, device, count = usable_cores(), measured.device, measured.all_batches
    index = build_index(settings.data)
    train = index[index["split"] == "train"].reset_index(drop=True)
    resident = ResidentImages(train, settings.augment, views)

    def ours(form: str) -> Callable[[], Iterator]:
        there = replace(settings, data=replace(settings.data, root=str(folder / form)))
        return lambda: open_batches(there, device)

    return {
        "DataLoader, PIL + v2": lambda: batches_of(
            DecodedImages(train, settings.augment, views), BATCH, count, workers, device
        ),
        "resident .npy + PIL": lambda: batches_of(resident, BATCH, count, workers, device),
        "ours, folder": ours("set"),
        "ours, encoded pack": ours("encoded"),
        "ours, resized pack": ours("resized"),
        "decoded only, CPU": lambda: decoded_only(train, BATCH, count, workers),
    }


def make_data(folder: Path, height: int, width: int, identities: int) -> DataSettings:
    """Makes a data set of files of one size, and its packs."""
    generate("folder", folder / "set", identities=identities, images_per_camera=8, seed=0)
    enlarge(folder / "set", height, width)
    arguments = ["data.dataset=folder", f"data.root={folder / 'set'}", "data.test_fraction=0.05"]
    for more in (["--pack", str(folder / "encoded")], ["--pack", str(folder / "resized"), "--resized"]):
        with suppress(SystemExit):
            prepare.main([*arguments, *more])
    return DataSettings(dataset="folder", root=str(folder / "set"), test_fraction=0.05)


def add_data_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--size", default="384x128", help="height x width of the files")
    parser.add_argument("--identities", default=40, type=int, help="of the generated data set, 32 images each")


def add_measuring_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batches", type=int, help="timed; 40, on a GPU 300 unless told")
    parser.add_argument("--warm-up", type=int, help="batches before them; 4, on a GPU 20 unless told")
    parser.add_argument("--rounds", type=int, default=ROUNDS)


def measured_by(options: argparse.Namespace) -> Measured:
    """Returns what the options of both kinds say, and leaves torch one thread, as the loader has the cores."""
    device = choose_device(options.device)
    batches, warm_up = USUAL_BATCHES[device.type]
    torch.set_num_threads(1)
    return Measured(device, options.batches or batches, warm_up if options.warm_up is None else options.warm_up)


def size_of(argument: str) -> tuple[int, int]:
    """Returns height and width; ValueError for anything that isn't like `384x128`."""
    height, by, width = argument.partition("x")
    if not (by and height.isdigit() and width.isdigit()):
        raise ValueError(f"--size: expected height x width, e.g. 384x128; found {argument!r}")
    return int(height), int(width)


def settings_of(data: DataSettings, views: int) -> Settings:
    """Returns settings with captured images alone, or with a derivative of each."""
    return Settings(
        data=data,
        batch=BatchSettings(modalities=list(MODALITY_NAMES[: 2 * views])),
        derive=DeriveSettings(infrared=["equalize"]),
    )


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loader", description=__doc__.splitlines()[0])
    add_device_option(parser)
    add_data_options(parser)
    add_measuring_options(parser)
    options = parser.parse_args(argv)
    measured = measured_by(options)
    with tempfile.TemporaryDirectory() as temporary:
        data = make_data(Path(temporary), *size_of(options.size), options.identities)
        print(
            f"\nfiles {options.size}, output 288x144, batches of {BATCH}, {usable_cores()} cores; ",
            end="",
        )
        print(f"{options.rounds} rounds of {measured.batches} batches after {measured.warm_up}")
        print(f"all tensors end on: {describe_device(measured.device)}; files only decoded stay in the CPU's memory")
        for views in (1, 2):
            started = loaders(Path(temporary), settings_of(data, views), views, measured)
            compare(started, views, measured, options.rounds)


def median_rates(started: dict[str, Callable[[], Iterator]], measured: Measured, count: int) -> dict[str, float]:
    """Returns captured images a second by name, each the median of `count` rounds in which all are timed in turn."""
    rounds = [{name: rate(start(), measured) for name, start in started.items()} for _ in range(count)]
    return {name: median(one[name] for one in rounds) for name in started}


def compare(started: dict[str, Callable[[], Iterator]], views: int, measured: Measured, count: int) -> None:
    """Times every loader in turn and prints the medians."""
    rates = median_rates(started, measured, count)
    decoding, resident = list(rates.values())[:2]
    print(f"\n{f'views of an image: {views}':>22}  captured images/s  x DataLoader   x .npy")
    for name, value in rates.items():
        print(f"{name:>22} {value:>18.0f} {value / decoding:>13.2f} {value / resident:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
