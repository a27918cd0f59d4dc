"""From the loader's normalized images to the range of networks that make images, and back."""

from __future__ import annotations

import torch
from torch import nn

from pipeline.models.gray import FOUR_DIGITS, to_gray
from pipeline.precision import wide


class PixelRange(nn.Module):
    """Levels in -1 .. 1, as tanh gives them, from images normalized by `mean` and `std` (3 values each, of levels in
    0 .. 1), and the inverse. Exact but for rounding, in float32 or wider also under autocast.

    mean and std come from the configuration, so they are not saved with the weights.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def signed(self, images: torch.Tensor) -> torch.Tensor:
        """Returns 2 (x std + mean) - 1 of normalized images (B, 3, H, W)."""
        return 2 * (wide(images) * self.std + self.mean) - 1

    def normalized(self, images: torch.Tensor) -> torch.Tensor:
        """Returns ((x + 1) / 2 - mean) / std of images (B, 3, H, W) in -1 .. 1."""
        return ((wide(images) + 1) / 2 - self.mean) / self.std


def gray(images: torch.Tensor) -> torch.Tensor:
    """Returns (B, 3, H, W) whose channels are all the weighted sum of those of `images`, normalized ones.

    As JSIA's encoder sees every image; the weights are those of its code, whose sum is 0.9999.
    """
    return to_gray(images, FOUR_DIGITS).expand(-1, 3, -1, -1)
