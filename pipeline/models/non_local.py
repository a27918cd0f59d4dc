"""Non-local blocks (Wang et al., CVPR 2018), as AGW puts them into a ResNet (Ye et al., TPAMI 2022)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from pipeline.models.inserts import InsertOptions
from pipeline.settings_key import key


class NonLocal(nn.Module):
    """z = BN(W_z y + b_z) + x with y_i = (1 / N) sum_j theta_i phi_j g_j, over the N places of a map.

    theta, phi, g and W_z are 1 x 1 convolutions with bias, the first three from C channels to `channels`. The BN's
    weight and bias start at 0: the block begins as the identity. AGW's public code has channels = 1
    (mangye16/Cross-Modal-Re-ID-baseline), the usual choice is C / 2: None.
    """

    @dataclass(frozen=True)
    class Options(InsertOptions):
        channels: int | None = key(1, "of theta, phi and g; AGW's public code: 1; null: half of the map's", min=1)

    def __init__(self, settings: Options, channels: int) -> None:
        super().__init__()
        inner = max(channels // 2, 1) if settings.channels is None else settings.channels
        self.theta, self.phi, self.g = (nn.Conv2d(channels, inner, kernel_size=1) for _ in range(3))
        self.expand, self.norm = nn.Conv2d(inner, channels, kernel_size=1), nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)
        nn.init.zeros_(self.norm.bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Maps (B, C, h, w) to (B, C, h, w)."""
        theta, phi, g = (part(features).flatten(2) for part in (self.theta, self.phi, self.g))
        # (theta^T phi) g = theta^T (phi g^T): the smaller product, without the N x N matrix
        gathered = torch.einsum("bcn,bdn->bcd", phi / phi.shape[2], g)  # divided before the sum: in float16's range
        mixed = torch.einsum("bcn,bcd->bdn", theta, gathered)
        return self.norm(self.expand(mixed.reshape(len(features), -1, *features.shape[2:]))) + features
