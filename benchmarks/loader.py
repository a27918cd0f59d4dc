"""Recorded images a second of the training loader beside what others do with the same files on the same cores.

    python -m benchmarks.loader [--size 384x128] [--batches 40]

Ours reads the files of the folder, packed encoded, or packed resized (`pipeline.prepare --pack`, `--resized`). Beside
it stand a DataLoader that decodes with PIL and transforms with torchvision v2, one over resized pictures resident in
memory (`benchmarks.peers`), and the floor: the same files only decoded. All are timed in turn, several times.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import median

import pandas as pd
import torch
from PIL import Image

from benchmarks.peers import DecodedPictures, ResidentPictures, batches_of, decoded_only
from pipeline import prepare
from pipeline.batch import MODALITY_NAMES
from pipeline.build import build_index, build_table
from pipeline.datasets.synthetic import generate
from pipeline.loading.batches import training_batches
from pipeline.loading.hardware import usable_cores
from pipeline.settings import BatchSettings, DataSettings, DeriveSettings, Settings

ROUNDS = 3  # timed in turn, so that a change of the machine's speed meets all
BATCH = 64  # recorded images: 8 identities, 4 of each modality
WARM_UP = 4  # batches that start things up


def enlarge(root: Path, height: int, width: int) -> None:
    """Pictures of the size that the published data sets have; the drawn ones are smaller."""
    for path in root.rglob("*.jpg"):
        with Image.open(path) as picture:
            picture.resize((width, height)).save(path, quality=90)


def rate(batches: Iterator, size: int, count: int) -> float:
    """Recorded images a second."""
    for _ in itertools.islice(batches, WARM_UP):
        pass
    begin = time.perf_counter()
    for batch in itertools.islice(batches, count):
        del batch
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return size * count / (time.perf_counter() - begin)


def loaders(folder: Path, settings: Settings, views: int, count: int) -> dict[str, Callable[[], Iterator]]:
    """Name -> how to start it."""
    workers = usable_cores()
    index = build_index(settings.data)
    train = index[index["split"] == "train"].reset_index(drop=True)
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    resident = ResidentPictures(train, settings.augment, views)

    def ours(root: Path) -> Iterator:
        there = replace(settings, data=replace(settings.data, root=str(root)))
        of_root: pd.DataFrame = build_index(there.data)
        return training_batches(of_root, build_table(there, of_root), there, device)

    return {
        "DataLoader, PIL + v2": lambda: batches_of(
            DecodedPictures(train, settings.augment, views), BATCH, count + WARM_UP, workers
        ),
        "resident .npy + PIL": lambda: batches_of(resident, BATCH, count + WARM_UP, workers),
        "ours, folder": lambda: ours(folder / "set"),
        "ours, encoded pack": lambda: ours(folder / "encoded"),
        "ours, resized pack": lambda: ours(folder / "resized"),
        "decoded only": lambda: decoded_only(train, BATCH, count + WARM_UP, workers),
    }


def make_data(folder: Path, height: int, width: int) -> DataSettings:
    """A data set of files of one size, and its packs."""
    generate("folder", folder / "set", identities=40, images_per_camera=8, seed=0)
    enlarge(folder / "set", height, width)
    words = ["data.dataset=folder", f"data.root={folder / 'set'}", "data.test_fraction=0.05"]
    for more in (["--pack", str(folder / "encoded")], ["--pack", str(folder / "resized"), "--resized"]):
        with suppress(SystemExit):
            prepare.main([*words, *more])
    return DataSettings(dataset="folder", root=str(folder / "set"), test_fraction=0.05)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loader", description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="384x128", help="height x width of the files")
    parser.add_argument("--batches", type=int, default=40)
    options = parser.parse_args(argv)
    height, width = (int(number) for number in options.size.split("x"))
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        data = make_data(Path(temporary), height, width)
        print(f"\nfiles {options.size}, output 288x144, batches of 64, {usable_cores()} cores, {ROUNDS} rounds")
        for views in (1, 2):
            settings = Settings(
                data=data,
                batch=BatchSettings(modalities=list(MODALITY_NAMES[: 2 * views])),
                derive=DeriveSettings(infrared=["equalize"]),
            )
            compare(loaders(Path(temporary), settings, views, options.batches), views, options.batches)


def compare(started: dict[str, Callable[[], Iterator]], views: int, batches: int) -> None:
    """Times every loader in turn and prints the medians."""
    rounds = [{name: rate(start(), BATCH, batches) for name, start in started.items()} for _ in range(ROUNDS)]
    rates = {name: median(one[name] for one in rounds) for name in started}
    decoding, resident = list(rates.values())[:2]
    print(f"\n{f'views of a picture: {views}':>22}  recorded images/s  x DataLoader   x .npy")
    for name, value in rates.items():
        print(f"{name:>22} {value:>18.0f} {value / decoding:>13.2f} {value / resident:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
