"""A learned derivation: the X-modality generator."""

from __future__ import annotations

import torch
from torch import nn

INITIAL_WEIGHT = 0.333


class ModalityGenerator(nn.Module):
    """Derive an image per pixel: 3 channels -> 1 -> ReLU -> 3, two 1 x 1 convolutions, on the normalized image.

    Li et al., "Infrared-Visible Cross-Modal Person Re-Identification with an X Modality", AAAI 2020. All weights start
    at 0.333 and all biases at 0, so the first output is about the gray image, its negative values set to 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.to_gray = nn.Conv2d(3, 1, kernel_size=1)
        self.to_color = nn.Conv2d(1, 3, kernel_size=1)
        for convolution in (self.to_gray, self.to_color):
            assert convolution.bias is not None  # a convolution has one unless told otherwise
            nn.init.constant_(convolution.weight, INITIAL_WEIGHT)
            nn.init.zeros_(convolution.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Derives (B, 3, H, W) from (B, 3, H, W), of the weights' type also under autocast: an image is kept exact."""
        with torch.autocast(images.device.type, enabled=False):
            gray = self.to_gray(images.to(self.to_gray.weight.dtype))
            return self.to_color(torch.relu(gray))
