"""From a map of features to one vector per image."""

from __future__ import annotations

from typing import get_args

import torch
from torch import nn

from pipeline.settings import PoolingKind

POOLINGS = get_args(PoolingKind)


class Pooling(nn.Module):
    """Average or generalised-mean pooling over positions, in float32 or wider.

    gem: (mean over positions of max(x, eps)^p)^(1/p), p fixed (Radenovic et al., "Fine-tuning CNN Image Retrieval with
    No Human Annotation", 2018). It sees only positive values, so it suits maps that end in a ReLU.

    kind           "gem" or "average"
    power          p of gem, > 0
    channels_last  True if 4-d maps come as (B, H, W, C)
    prefix_tokens  how many leading tokens of (B, N, C) are no positions (class and register tokens) and are left out
    """

    def __init__(
        self, kind: str, *, power: float = 3.0, channels_last: bool = False, prefix_tokens: int = 0, eps: float = 1e-6
    ) -> None:
        super().__init__()
        if kind not in POOLINGS:
            raise ValueError(f"pooling: expected one of {', '.join(POOLINGS)}; found {kind!r}")
        if not power > 0:
            raise ValueError(f"pool_power: expected a number above 0; found {power!r}")
        self.kind = kind
        self.power = power
        self.channels_last = channels_last
        self.prefix_tokens = prefix_tokens
        self.eps = eps

    def stripes(self, features: torch.Tensor, count: int) -> list[torch.Tensor]:
        """Returns (B, C) of each of `count` horizontal stripes of a 4-d map, from the top, divided as PCB's adaptive
        pooling.

        Raises ValueError where the map has fewer rows, or its places are tokens.
        """
        if features.ndim != 4:
            raise ValueError("expected a backbone that returns a map of rows and columns; found tokens")
        rows = 1 if self.channels_last else 2
        height = features.shape[rows]
        if height < count:
            raise ValueError(f"count: expected at most the {height} rows of the backbone's map; found {count}")
        edges = [(number * height // count, -(-(number + 1) * height // count)) for number in range(count)]
        return [self(features.narrow(rows, begin, end - begin)) for begin, end in edges]

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Pools (B, C, H, W), (B, H, W, C) or tokens (B, N, C), any float type, to (B, C) float32 or wider."""
        assert features.ndim in (3, 4), f"expected a map or tokens; found shape {tuple(features.shape)}"
        positions: tuple[int, ...]
        if features.ndim == 3:
            features, positions = features[:, self.prefix_tokens :], (1,)
        else:
            positions = (1, 2) if self.channels_last else (2, 3)
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        if self.kind == "average":
            return features.mean(positions)
        return features.clamp(min=self.eps).pow(self.power).mean(positions).pow(1.0 / self.power)


def pooling_for(backbone: nn.Module, kind: str, power: float) -> Pooling:
    """Returns the pooling that fits what a timm backbone's `forward_features` returns."""
    return Pooling(
        kind,
        power=power,
        channels_last=getattr(backbone, "output_fmt", "NCHW") == "NHWC",
        prefix_tokens=getattr(backbone, "num_prefix_tokens", 0),
    )
