"""The loaders that the training loader is compared with, written here from descriptions of how others do it.

All end at normalized float tensors of all views of a batch and do what ours does: resize, pad, crop and flip; gray is
the derivative of a visible image, histogram equalization that of an infrared one.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torchvision.transforms as v1
from PIL import Image, ImageOps
from torch.utils.data import DataLoader, Dataset
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import v2

from dali_ops.normalize import IMAGENET
from pipeline.batch import Modality
from pipeline.settings import AugmentSettings


class DecodedImages(Dataset):
    """Each image decoded by PIL when it is asked for, then torchvision's v2 transforms on tensors."""

    def __init__(self, index: pd.DataFrame, augment: AugmentSettings, views: int) -> None:
        self.paths, self.infrared = index["path"].tolist(), (index["modality"] == int(Modality.INFRARED)).tolist()
        self.views = views
        self.finish = v2.Compose(
            [
                v2.Resize((augment.height, augment.width)),
                v2.Pad(augment.pad),
                v2.RandomCrop((augment.height, augment.width)),
                v2.RandomHorizontalFlip(augment.hflip_prob),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(IMAGENET.mean, IMAGENET.std),
            ]
        )
        self.derive = {False: v2.Grayscale(3), True: v2.RandomEqualize(1.0)}

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> torch.Tensor:
        with Image.open(self.paths[row]) as file:
            image = v2.functional.pil_to_tensor(file.convert("RGB"))
        views = [image] if self.views == 1 else [image, self.derive[self.infrared[row]](image)]
        return torch.stack([self.finish(view) for view in views])


class ResidentImages(Dataset):
    """All images decoded and resized beforehand in one array in memory, then PIL transforms (as AGW does)."""

    def __init__(self, index: pd.DataFrame, augment: AugmentSettings, views: int) -> None:
        self.infrared = (index["modality"] == int(Modality.INFRARED)).tolist()
        self.images = np.stack([resized(path, augment) for path in index["path"]])
        self.views = views
        self.finish = v1.Compose(
            [
                v1.Pad(augment.pad),
                v1.RandomCrop((augment.height, augment.width)),
                v1.RandomHorizontalFlip(augment.hflip_prob),
                v1.ToTensor(),
                v1.Normalize(IMAGENET.mean, IMAGENET.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> torch.Tensor:
        image = Image.fromarray(self.images[row])
        views = [image]
        if self.views == 2:
            derived = ImageOps.equalize(image) if self.infrared[row] else ImageOps.grayscale(image).convert("RGB")
            views.append(derived)
        return torch.stack([self.finish(view) for view in views])


def resized(path: str, augment: AugmentSettings) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((augment.width, augment.height), Image.Resampling.LANCZOS))


def batches_of(images: Dataset, size: int, count: int, workers: int, device: torch.device) -> Iterator[torch.Tensor]:
    """Batches on the device; to a GPU they go as they should, from pinned memory and without waiting."""
    rows = np.random.default_rng(0).integers(0, len(images), size * count).tolist()
    pinned = device.type == "cuda"
    for batch in DataLoader(images, batch_size=size, sampler=rows, num_workers=workers, pin_memory=pinned):
        yield batch.to(device, non_blocking=True)


def decoded_only(index: pd.DataFrame, size: int, count: int, threads: int) -> Iterator[list[torch.Tensor]]:
    """Measures the floor: the same files decoded by libjpeg-turbo on the CPU and nothing else done to them."""
    contents = [torch.from_numpy(np.fromfile(Path(path), np.uint8)) for path in index["path"]]
    modes = [ImageReadMode.GRAY if infrared else ImageReadMode.RGB for infrared in index["modality"]]
    rows = np.random.default_rng(0).integers(0, len(contents), (count, size)).tolist()
    with ThreadPoolExecutor(threads) as pool:
        for batch in rows:
            yield list(pool.map(lambda row: decode_jpeg(contents[row], modes[row]), batch))


if __name__ == "__main__":
    print(f"{__doc__}\nNothing to run here: `python -m benchmarks.loader` times these and the training loader.")
