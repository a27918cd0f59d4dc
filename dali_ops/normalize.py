"""uint8 HWC images -> normalized floats, on the device that trains.

Images stay uint8 until there: a quarter of the memory and of the way, and one pass instead of one for each view.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from nvidia.dali import fn
from nvidia.dali.data_node import DataNode
from nvidia.dali.types import DALIImageType


@dataclass(frozen=True)
class Normalization:
    """What a backbone's weights expect of pixels: mean and standard deviation of red, green and blue, 0 to 1."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def color_of(self, normalized: tuple[float, float, float]) -> tuple[int, int, int]:
        """Returns the color, 0 to 255, that is nearest to `normalized` once it is normalized."""
        levels = (255 * (value * std + mean) for value, mean, std in zip(normalized, self.mean, self.std, strict=True))
        red, green, blue = (min(max(round(level), 0), 255) for level in levels)
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


def mix_channels(images: torch.Tensor, matrices: np.ndarray) -> None:
    """Multiplies the channels of every pixel by the matrix of its image, in place.

    images (n, 3, H, W) of a float type, in channels_last memory; matrices (n, 3, 3) float32. Computed in float32. On a
    CPU a matrix that makes an image gray costs a third of another, gains of channels nearly nothing.
    """
    pixels = images.permute(0, 2, 3, 1)
    if images.device.type == "cpu":
        for image, matrix in zip(pixels, matrices, strict=True):
            mix_one(image, torch.from_numpy(matrix))
        return
    # by elements: a product of matrices would round to TF32 where training allows that
    columns = torch.from_numpy(matrices).to(images.device, non_blocking=True)[:, None, None].unbind(-1)
    red, green, blue = (pixels[..., number : number + 1] * column for number, column in enumerate(columns))
    pixels.copy_(red + green + blue)


def mix_one(image: torch.Tensor, matrix: torch.Tensor) -> None:
    """Multiplies the channels of every pixel (H, W, 3) by a matrix (3, 3) float32, in place, on a CPU."""
    if torch.equal(matrix, matrix[:1].expand(3, 3)):
        gray = mixed_channel(image, matrix[0])
        for channel in image.unbind(2):  # by channel: a line of pixels at a time is slower
            channel.copy_(gray)
    elif torch.equal(matrix, torch.diag(matrix.diagonal())):
        if not torch.equal(matrix, torch.eye(3)):
            image.flatten(1).mul_(matrix.diagonal().repeat(image.shape[1]))
    else:
        image.copy_(image.float() @ matrix.T)


def mixed_channel(image: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Returns (H, W): the channels of an image (H, W, 3), weighted; a copy of one that stands alone."""
    only = weights.nonzero().flatten().tolist()
    if len(only) == 1 and weights[only[0]] == 1:
        return image[..., only[0]].contiguous()
    return torch.mv(image.reshape(-1, 3).float(), weights).reshape(image.shape[:2])


@cache
def line_factors(width: int, device: torch.device, by: Normalization) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns scale and shift of a line of pixels, (width * 3,) float32 each: torch is ten times slower over three
    channels."""
    scale = torch.tensor([1 / (255 * std) for std in by.std]).repeat(width)
    shift = torch.tensor([-mean / std for mean, std in zip(by.mean, by.std, strict=True)]).repeat(width)
    return scale.to(device), shift.to(device)
