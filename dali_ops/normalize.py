"""uint8 HWC images -> normalized floats, on the device that trains.

Images stay uint8 until there: a quarter of the memory and of the way, and one pass instead of one for each view.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from nvidia.dali import fn
from nvidia.dali.data_node import DataNode
from nvidia.dali.types import DALIImageType


@dataclass(frozen=True)
class Normalization:
    """What a backbone's weights expect of pixels: mean and standard deviation of red, green and blue, 0 to 1."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def erased(self) -> tuple[int, int, int]:
        """The color of erased boxes, 0 to 255: within half a level of 0 after normalization."""
        red, green, blue = (round(255 * value) for value in self.mean)
        return red, green, blue


IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def replicate_to(images: DataNode, channels: int, wanted: int = 3) -> DataNode:
    """Returns uint8 HWC of 1 or 3 `channels` with as many as are `wanted`: 3, the one replicated, or as it is."""
    if channels == wanted:
        return images
    return fn.color_space_conversion(images, image_type=DALIImageType.GRAY, output_type=DALIImageType.RGB)


def normalize_into(images: torch.Tensor, levels: torch.Tensor, by: Normalization) -> None:
    """Writes (x / 255 - mean) / std of `levels` (n, H, W, 3) uint8 into `images`, the same shape in float32."""
    scale, shift = line_factors(levels.shape[2], levels.device, by)
    # on a CPU image by image, so that what the first pass writes is still in the cache for the second
    count = 1 if levels.device.type == "cpu" else len(levels)
    for into, of in zip(images.flatten(2).split(count), levels.flatten(2).split(count), strict=True):
        torch.addcmul(shift, into.copy_(of), scale, out=into)


@cache
def line_factors(width: int, device: torch.device, by: Normalization) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns scale and shift of a line of pixels, (width * 3,) float32 each: torch is ten times slower over three
    channels."""
    scale = torch.tensor([1 / (255 * std) for std in by.std]).repeat(width)
    shift = torch.tensor([-mean / std for mean, std in zip(by.mean, by.std, strict=True)]).repeat(width)
    return scale.to(device), shift.to(device)
