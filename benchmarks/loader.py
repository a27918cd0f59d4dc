"""Images a second of the training loader beside a PyTorch DataLoader that does the same work.

    python -m benchmarks.loader [--size 384x128] [--batches 40]

Both decode the same JPEG files, resize, pad, crop and flip them, derive grey from visible and equalise infrared where
two views are asked for, and end at normalised float tensors on the device that trains. Rates are of recorded images.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from dali_ops.normalize import MEAN, STD
from pipeline.batch import MODALITY_NAMES, Modality
from pipeline.datasets import read_index
from pipeline.datasets.synthetic import generate
from pipeline.loader import training_batches, usable_cores
from pipeline.sampling import training_table
from pipeline.settings import BatchSettings, DeriveSettings, LoaderSettings, Settings

ROUNDS = 3  # timed in turn, so that a change of the machine's speed meets both


class Pictures(Dataset):
    """A recorded picture and, with two views, its derivative, by PIL and torchvision."""

    def __init__(self, index: pd.DataFrame, settings: Settings, views: int) -> None:
        augment = settings.augment
        self.paths, self.infrared = index["path"].tolist(), (index["modality"] == int(Modality.INFRARED)).tolist()
        self.views = views
        geometry = [
            v2.Resize((augment.height, augment.width)),
            v2.Pad(augment.pad),
            v2.RandomCrop((augment.height, augment.width)),
            v2.RandomHorizontalFlip(augment.flip),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
        self.finish = v2.Compose(geometry)
        self.derive = {False: v2.Grayscale(3), True: v2.RandomEqualize(1.0)}

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> torch.Tensor:
        with Image.open(self.paths[row]) as file:
            picture = v2.functional.pil_to_tensor(file.convert("RGB"))
        views = [picture] if self.views == 1 else [picture, self.derive[self.infrared[row]](picture)]
        return torch.stack([self.finish(view) for view in views])


def enlarge(root: Path, height: int, width: int) -> None:
    """Pictures of the size that the published data sets have; the drawn ones are smaller."""
    for path in root.rglob("*.jpg"):
        with Image.open(path) as picture:
            picture.resize((width, height)).save(path, quality=90)


def peer_rate(index: pd.DataFrame, settings: Settings, views: int, batches: int, workers: int) -> float:
    rows = settings.batch.ids_per_batch * settings.batch.images_per_modality * 2
    sampler = np.random.default_rng(0).integers(0, len(index), rows * (batches + 4)).tolist()
    loader = DataLoader(
        Pictures(index, settings, views),
        batch_size=rows,
        sampler=sampler,
        num_workers=workers,
        persistent_workers=False,
    )
    return rate(iter(loader), rows, batches)


def our_rate(index: pd.DataFrame, settings: Settings, batches: int) -> float:
    table = training_table(index, settings.batch)
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    rows = settings.batch.ids_per_batch * settings.batch.images_per_modality * 2
    ours = training_batches(index, table, settings, device)
    try:
        return rate(ours, rows, batches)
    finally:
        ours.close()


def rate(loader, rows: int, batches: int) -> float:
    """Recorded images a second, after four batches that start things up."""
    for _ in itertools.islice(loader, 4):
        pass
    begin = time.perf_counter()
    for _ in itertools.islice(loader, batches):
        pass
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return rows * batches / (time.perf_counter() - begin)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loader", description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="384x128", help="height x width of the files")
    parser.add_argument("--batches", type=int, default=40)
    options = parser.parse_args(argv)
    height, width = (int(number) for number in options.size.split("x"))
    workers = usable_cores()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        generate("folder", folder, identities=40, images_per_camera=8, seed=0)
        enlarge(Path(folder), height, width)
        index = read_index("folder", folder, test_fraction=0.05)
        print(f"files {options.size}, output 288x144, batches of 64, {workers} cores; median of {ROUNDS} rounds")
        print(f"{'views':>5} {'DataLoader':>12} {'ours':>8} {'ratio':>6}   recorded images/s")
        for views in (1, 2):
            modalities = list(MODALITY_NAMES[: 2 * views])
            settings = Settings(
                batch=BatchSettings(modalities=modalities),
                derive=DeriveSettings(infrared="equalize"),
                loader=LoaderSettings(threads=workers),
            )
            rounds = [
                (
                    peer_rate(index, settings, views, options.batches, workers),
                    our_rate(index, settings, options.batches),
                )
                for _ in range(ROUNDS)
            ]
            peer, ours = (median(values) for values in zip(*rounds, strict=True))
            print(f"{views:>5} {peer:>12.0f} {ours:>8.0f} {ours / peer:>6.2f}")


if __name__ == "__main__":
    main()
