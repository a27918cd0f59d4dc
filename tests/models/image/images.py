"""Images in -1 .. 1."""

import torch


def images(height=64, width=32, rows=2):
    return 2 * torch.rand(rows, 3, height, width, generator=torch.Generator().manual_seed(0)) - 1
