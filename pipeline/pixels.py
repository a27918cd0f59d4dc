"""Normalized images as pixels to look at."""

from __future__ import annotations

import torch

from dali_ops.normalize import Normalization


def to_pixels(images: torch.Tensor, normalized_by: Normalization) -> torch.Tensor:
    """Returns (B, H, W, 3) uint8 on the host of normalized images (B, 3, H, W), each rounded to the nearest level."""
    mean, std = (images.new_tensor(values, dtype=torch.float32) for values in (normalized_by.mean, normalized_by.std))
    levels = images.detach().float().permute(0, 2, 3, 1) * std + mean
    return (255 * levels).round().clamp(0, 255).byte().cpu()
