"""The multi-scale block (MIMB) of MSCMNet (Hua et al., Pattern Recognition 2025; code Hua-XC/MSCMNet)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from timm.layers.activations import QuickGELU
from torch import nn

from pipeline.models.inserts import InsertOptions
from pipeline.models.taps import MapSize, TapPlace
from pipeline.settings_key import key

REDUCTION = 4  # of the channels, within a block
SHARE = 0.1  # of the earlier map, in the sum with this one
HEADS = 32
OWN = "layer3"


class Convolution(NamedTuple):
    """Brings an earlier map to the size of layer3's."""

    kernel: int
    stride: int
    padding: int

    def height_and_width(self, size: MapSize) -> tuple[int, int]:
        """Returns those of its output."""
        height, width = ((side + 2 * self.padding - self.kernel) // self.stride + 1 for side in size[1:])
        return height, width


# Earlier maps, in the order in which blocks read them.
EARLIER = {"stem": Convolution(6, 4, 2), "layer1": Convolution(6, 4, 2), "layer2": Convolution(4, 2, 1)}


class ScaleBlock(nn.Module):
    """One block: attention among channels, asked for by an earlier map, or by the map itself where there is none.

    With a token of h w values for each of C / 4 channels, both maps reduced by a convolution and layer norm:
    x += 0.1 o; x += attention(query o, key o, value x); x += MLP(norm(x)); then back to C channels. There is no way
    around the block: what follows sees its output alone. Weights begin as torch's layers do.
    """

    def __init__(self, own: MapSize, earlier: MapSize | None, convolution: Convolution | None, heads: int) -> None:
        super().__init__()
        inner, places = own.channels // REDUCTION, own.height * own.width
        self.narrow, self.norm = nn.Conv2d(own.channels, inner, 1), nn.LayerNorm(places)
        self.earlier = None
        if earlier is not None and convolution is not None:
            self.earlier = nn.Sequential(
                nn.Conv2d(earlier.channels, inner, *convolution), nn.Flatten(2), nn.LayerNorm(places)
            )
        self.attention = nn.MultiheadAttention(places, heads, batch_first=True)
        self.mlp_norm = nn.LayerNorm(places)
        self.mlp = nn.Sequential(nn.Linear(places, 4 * places), QuickGELU(), nn.Linear(4 * places, places))
        self.widen = nn.Conv2d(inner, own.channels, 1)

    def forward(self, features: torch.Tensor, earlier: torch.Tensor | None = None) -> torch.Tensor:
        """Maps (B, C, h, w) to (B, C, h, w); earlier: (B, C', h', w'), for a block that reads one."""
        tokens = self.norm(self.narrow(features).flatten(2))
        asked = tokens
        if self.earlier is not None:
            asked = self.earlier(earlier)
            tokens = tokens + SHARE * asked
        tokens = tokens + self.attention(asked, asked, tokens, need_weights=False)[0]
        tokens = tokens + self.mlp(self.mlp_norm(tokens))
        return self.widen(tokens.unflatten(2, features.shape[2:]))


class MIMB(nn.Module):
    """Four blocks in a row behind layer3 of a ResNet, which read the maps of stem, layer1, layer2, and their own.

    They are built for one size of images: a token has a value for each place.
    """

    taps = {
        "stem": TapPlace("layer1", "input"),
        "layer1": TapPlace("layer1", "output"),
        "layer2": TapPlace("layer2", "output"),
        OWN: TapPlace(OWN, "output"),
    }

    @dataclass(frozen=True)
    class Options(InsertOptions):
        at: list[str] = key([OWN], "layer3, behind which it stands")
        heads: int | None = key(
            None, "of the attention; null: the code's 32, or the most up to it that divide the places of a map", min=1
        )

    def __init__(self, settings: Options, channels: int, sizes: Mapping[str, MapSize]) -> None:
        super().__init__()
        if settings.at != [OWN] or settings.last_blocks:
            raise ValueError(f"at: expected {OWN} alone; found {', '.join([*settings.at, *settings.last_blocks])}")
        own = sizes[OWN]
        check_sizes(sizes)
        places = own.height * own.width
        heads = settings.heads or max(heads for heads in range(1, HEADS + 1) if places % heads == 0)
        if places % heads:
            raise ValueError(f"heads: expected a divisor of the {places} places of {OWN}'s map; found {heads}")
        blocks = {name: ScaleBlock(own, sizes[name], convolution, heads) for name, convolution in EARLIER.items()}
        self.blocks = nn.ModuleDict(blocks | {OWN: ScaleBlock(own, None, None, heads)})

    def forward(self, features: torch.Tensor, tapped: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Maps layer3's (B, C, h, w) to (B, C, h, w); tapped: maps by the names of `taps`."""
        for name, block in self.blocks.items():
            features = block(features, tapped[name])
        return features


def check_sizes(sizes: Mapping[str, MapSize]) -> None:
    """Raises ValueError where a convolution doesn't bring an earlier map to the size of layer3's."""
    own = sizes[OWN]
    for name, convolution in EARLIER.items():
        if convolution.height_and_width(sizes[name]) != own[1:]:
            earlier = sizes[name]
            raise ValueError(
                f"at: expected a map {convolution.stride} times as large at {name} as at {OWN}, as of images of "
                f"multiples of 16; found {earlier.height} x {earlier.width} and {own.height} x {own.width}"
            )
