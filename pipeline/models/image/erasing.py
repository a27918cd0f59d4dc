"""Random erasing of images that are on a device already, without waiting for it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

ATTEMPTS = 10  # boxes sampled until one fits, as the loader does


@dataclass(frozen=True)
class RandomErasing:
    """Sets a random box of images to 0, which is the mean of normalized ones (Zhong et al., AAAI 2020).

    probability  that an image is erased
    area         smallest and largest share of the image
    aspect       smallest height / width of the box; the largest is its inverse
    """

    probability: float
    area: tuple[float, float]
    aspect: float

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Returns erased copies of images (B, 3, H, W); the boxes are drawn from torch's generator of their device."""
        rows, columns = images.shape[2:]
        top, left, height, width = self.boxes(len(images), rows, columns, images.device).unbind(1)
        inside = within(top, height, rows)[:, :, None] & within(left, width, columns)[:, None, :]
        return images.masked_fill(inside[:, None], 0)

    def boxes(self, count: int, height: int, width: int, device: torch.device | None = None) -> torch.Tensor:
        """Returns (count, 4) float32: top, left, height, width of each box; height and width 0 where nothing is erased.

        Area and aspect are uniform, as in the code of Zhong et al.; the first of 10 boxes that fits the image is taken.
        """
        chosen, area, aspect, top, left = torch.rand(5, count, ATTEMPTS, device=device)
        area = (self.area[0] + (self.area[1] - self.area[0]) * area) * height * width
        aspect = self.aspect + (1 / self.aspect - self.aspect) * aspect
        heights, widths = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
        fits = (heights < height) & (widths < width)
        erased = fits.any(dim=1) & (chosen[:, 0] < self.probability)
        top, left = (top * (height - heights + 1)).floor(), (left * (width - widths + 1)).floor()
        first = fits.byte().argmax(dim=1)
        box = torch.stack([top, left, heights, widths], dim=2).take_along_dim(first[:, None, None], dim=1).squeeze(1)
        return torch.where(erased[:, None], box, 0)


def within(begin: torch.Tensor, length: torch.Tensor, size: int) -> torch.Tensor:
    """Returns (B, size) bool: which places lie in begin .. begin + length, of (B,) each."""
    places = torch.arange(size, device=begin.device)
    return (begin[:, None] <= places) & (places < (begin + length)[:, None])
