"""From a map of features to one vector per image."""

from __future__ import annotations

from typing import get_args

import torch
from torch import nn

from pipeline.models.timm_model import Backbone
from pipeline.settings import PoolingKind

POOLINGS = tuple(kind for kind in get_args(PoolingKind) if kind != "auto")


class Pooling(nn.Module):
    """Average or generalized-mean pooling over positions, or the class token, in float32 or wider.

    gem: (mean over positions of max(x, eps)^p)^(1/p) (Radenovic et al., "Fine-tuning CNN Image Retrieval with No Human
    Annotation", 2018). It sees only positive values, so it suits maps that end in a ReLU.

    kind           "gem", "average" or "token"
    power          p of gem, > 0
    power_trained  True if p is a parameter of shape (1,), which starts there
    channels_last  True if 4-d maps come as (B, H, W, C)
    prefix_tokens  how many leading tokens of (B, N, C) are no positions (class and register tokens) and are left out
    """

    def __init__(
        self,
        kind: str,
        *,
        power: float = 3.0,
        power_trained: bool = False,
        channels_last: bool = False,
        prefix_tokens: int = 0,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        if kind not in POOLINGS:
            raise ValueError(f"pooling: expected one of {', '.join(POOLINGS)}; found {kind!r}")
        if not power > 0:
            raise ValueError(f"pool_power: expected a number above 0; found {power!r}")
        if power_trained and kind != "gem":
            raise ValueError(f"pool_power_trained: expected the pooling gem, which has a power; found {kind}")
        self.kind = kind
        self.power = nn.Parameter(torch.full((1,), float(power))) if power_trained else power
        self.channels_last = channels_last
        self.prefix_tokens = prefix_tokens
        self.eps = eps

    def stripes(self, features: torch.Tensor, count: int) -> list[torch.Tensor]:
        """Returns (B, C) of each of `count` horizontal stripes of a 4-d map, from the top, divided as PCB's adaptive
        pooling.

        Raises ValueError where the map has fewer rows, or its places are tokens.
        """
        if features.ndim != 4:
            found = "the class token" if self.kind == "token" else "tokens"
            raise ValueError(f"type: stripes are of a map of rows and columns; found {found} of the backbone")
        rows = 1 if self.channels_last else 2
        height = features.shape[rows]
        if height < count:
            raise ValueError(f"count: expected at most the {height} rows of the backbone's map; found {count}")
        edges = [(number * height // count, -(-(number + 1) * height // count)) for number in range(count)]
        return [self(features.narrow(rows, begin, end - begin)) for begin, end in edges]

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Pools (B, C, H, W), (B, H, W, C) or tokens (B, N, C), any float type, to (B, C) float32 or wider."""
        assert features.ndim in (3, 4), f"expected a map or tokens; found shape {tuple(features.shape)}"
        if self.kind == "token":
            return features[:, 0].to(torch.promote_types(features.dtype, torch.float32))
        positions: tuple[int, ...]
        if features.ndim == 3:
            features, positions = features[:, self.prefix_tokens :], (1,)
        else:
            positions = (1, 2) if self.channels_last else (2, 3)
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        if self.kind == "average":
            return features.mean(positions)
        # a high power of small values is 0, where the root has no finite slope
        mean = features.clamp(min=self.eps).pow(self.power).mean(positions)
        return mean.clamp(min=torch.finfo(mean.dtype).tiny).pow(1.0 / self.power)


def pooling_for(backbone: Backbone, kind: PoolingKind, power: float, power_trained: bool = False) -> Pooling:
    """Returns the pooling that fits what a backbone's `forward_features` returns; kind: as `choose_pooling`."""
    return Pooling(
        choose_pooling(backbone, kind),
        power=power,
        power_trained=power_trained,
        channels_last=getattr(backbone, "output_fmt", "NCHW") == "NHWC",
        prefix_tokens=getattr(backbone, "num_prefix_tokens", 0),
    )


def choose_pooling(backbone: Backbone, kind: PoolingKind) -> PoolingKind:
    """Returns one of POOLINGS: `kind`, or what "auto" stands for.

    That is gem where no value of the backbone's map is negative, else the class token where timm's own model pools by
    it, else the average. Raises ValueError for "token" where there is no class token.
    """
    if kind == "token" and getattr(backbone, "cls_token", None) is None:
        raise ValueError(f"pooling: {type(backbone).__name__} has no class token; set it to auto, gem or average")
    if kind != "auto":
        return kind
    if not backbone.negative_share:
        return "gem"
    return "token" if backbone.class_token_pooled else "average"


def pooling_problem(backbone: Backbone, kind: str) -> str | None:
    """Returns why a training shouldn't pool that way, in one line that begins with the argument; None where it may."""
    if kind != "gem" or not backbone.negative_share:
        return None
    return (
        f"pooling: gem is for maps without negative values; {100 * backbone.negative_share:.0f} % of those of "
        f"{type(backbone).__name__} are, and would count as 0: set it to {choose_pooling(backbone, 'auto')}"
    )
