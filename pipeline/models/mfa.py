"""Multi-stage feature aggregation of DEEN (Zhang, Wang, CVPR 2023): a stage's map mixed with what it was made of."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from pipeline.models.inserts import InsertOptions
from pipeline.precision import wide
from pipeline.settings_key import key


class NonLocalOfTwo(nn.Module):
    """high + BN(W_z y), where y is mixed of theta of one map and of phi and g of another.

    theta, phi, g and W_z are 1 x 1 convolutions with bias. The BN's weight and bias start at 0: it begins as the
    identity.
    """

    def __init__(self, high: int, low: int, inner: int) -> None:
        super().__init__()
        self.theta = nn.Conv2d(high, inner, kernel_size=1)
        self.phi, self.g = (nn.Conv2d(low, inner, kernel_size=1) for _ in range(2))
        self.expand, self.norm = nn.Conv2d(inner, high, kernel_size=1), nn.BatchNorm2d(high)
        nn.init.zeros_(self.norm.weight)
        nn.init.zeros_(self.norm.bias)

    def forward(self, high: torch.Tensor, low: torch.Tensor) -> torch.Tensor:
        """Maps (B, C, h, w) and (B, C', h', w') to (B, C, h, w)."""
        parts = self.theta(high).flatten(2), self.phi(low).flatten(2), self.g(low).flatten(2)
        with torch.autocast(high.device.type, enabled=False):  # products of three maps leave the range of float16
            mixed = self.mixed(*map(wide, parts)).to(parts[0].dtype)
        return self.norm(self.expand(mixed.reshape(len(high), -1, *high.shape[2:]))) + high

    def mixed(self, theta: torch.Tensor, phi: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        """Returns y, (B, c, N), of theta (B, c, N), phi and g (B, c, N')."""
        raise NotImplementedError


class ChannelNonLocal(NonLocalOfTwo):
    """CNL: y = A g with A = theta phi^T / c, between the c channels of the lower map; no softmax, as in the code.

    `low` is as large as `high`, or twice: then every second of its places counts, in both directions.
    """

    def forward(self, high: torch.Tensor, low: torch.Tensor) -> torch.Tensor:
        return super().forward(high, thinned(low, high.shape[2:]))

    def mixed(self, theta: torch.Tensor, phi: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bcn,bdn->bcd", theta / theta.shape[1], phi) @ g


class PlaceNonLocal(NonLocalOfTwo):
    """PNL: y_i = sum_j A_ij g_j with A_ij = theta_i . phi_j / N', over the N' places of the lower map.

    paired: as in the released code, a "place" is a pair of pixels, one of the upper and one of the lower half of the
    map, side by side in 2 c channels; each map then needs an even number of them.
    """

    def __init__(self, high: int, low: int, inner: int, paired: bool) -> None:
        super().__init__(high, low, inner)
        self.paired = paired

    def mixed(self, theta: torch.Tensor, phi: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        if self.paired:
            theta, phi, g = (in_pairs(part) for part in (theta, phi, g))
        # theta^T (phi g^T): the smaller product, without the N x N' matrix
        gathered = torch.einsum("bcn,bdn->bcd", phi, g) / phi.shape[2]
        return torch.einsum("bcn,bcd->bdn", theta, gathered)


def in_pairs(features: torch.Tensor) -> torch.Tensor:
    """Returns (B, 2 c, N / 2) of features (B, c, N): each place of the first half of N with that of the second."""
    rows, channels, places = features.shape
    if places % 2:
        raise ValueError(f"paired: expected maps with an even number of places; found {places}; set it to false")
    return features.reshape(rows, 2 * channels, places // 2)


def thinned(low: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """Returns a map (B, C, h', w') of the height and width `size`, or of twice that every second row and column.

    These are the places that a convolution of stride 2 looks at, also of odd sizes. Raises ValueError for other sizes.
    """
    if low.shape[2:] == size:
        return low
    half = low[..., ::2, ::2]
    if half.shape[2:] != size:
        before, after = (f"{height} x {width}" for height, width in (low.shape[2:], size))
        raise ValueError(f"at: expected stages that keep the size of their map or halve it; found {before} -> {after}")
    return half


class MFA(nn.Module):
    """PNL(CNL(high, low), low): `high` is what a stage returns, `low` what it was given.

    As in ZYK100/LLCM 886e27c: CNL has as many inner channels as `low`, PNL half of them.
    """

    sees_input = True

    @dataclass(frozen=True)
    class Options(InsertOptions):
        paired: bool = key(
            False, "a place is a pair of pixels, of the upper and the lower half, as in the authors' code: their slip"
        )

    def __init__(self, settings: Options, high: int, low: int) -> None:
        super().__init__()
        self.channels = ChannelNonLocal(high, low, low)
        self.places = PlaceNonLocal(high, low, max(low // 2, 1), settings.paired)

    def forward(self, high: torch.Tensor, low: torch.Tensor) -> torch.Tensor:
        """Maps (B, C, h, w) and (B, C', h', w'), of the same size or twice as large, to (B, C, h, w)."""
        return self.places(self.channels(high, low), low)
