"""D2RL's networks: translation both ways between two modalities, and features of the image that unifies them.

Wang et al., "Learning to Reduce Dual-Level Discrepancy for Infrared-Visible Person Re-Identification", CVPR 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import nn

from pipeline.batch import CAPTURED, Modality
from pipeline.models.image.pixel_range import PixelRange
from pipeline.models.image.vae import Decoder, Encoder, sampled
from pipeline.models.reid import ReIDNetwork, ReIDOutput
from pipeline.routing import runs_of

Unify = Literal["multispectral", "visible", "infrared"]
CHANNELS: dict[Unify, int] = {"multispectral": 4, "visible": 3, "infrared": 3}


class Cycle(NamedTuple):
    """What becomes of images (B, 3, H, W); all images are in -1 .. 1, and the codes are means.

    code           (B, C, H / 4, W / 4), of the images
    reconstructed  of that code, by the modality's own decoder
    translated     of that code, by the other modality's decoder
    cycled_code    of the translated images
    cycled         of that, back in the modality of the images
    """

    code: torch.Tensor
    reconstructed: torch.Tensor
    translated: torch.Tensor
    cycled_code: torch.Tensor
    cycled: torch.Tensor


class Translation(nn.Module):
    """An encoder and a decoder of each captured modality; what one encodes, the other modality's decoder translates.

    In training mode codes are drawn around their means, with a deviation of `noise`; width and blocks are those of an
    `Encoder`.
    """

    def __init__(self, width: int = 64, blocks: int = 4, noise: float = 1.0) -> None:
        super().__init__()
        self.noise = noise
        self.encoders = nn.ModuleDict({modality.key: Encoder(width, blocks=blocks) for modality in CAPTURED})
        self.decoders = nn.ModuleDict({modality.key: Decoder(width, blocks=blocks) for modality in CAPTURED})

    def forward(self, images: torch.Tensor, modality: Modality) -> torch.Tensor:
        """Returns images (B, 3, H, W), in -1 .. 1, as the other modality would show them. modality: theirs.

        Raises ValueError for one that wasn't captured, and for H or W that isn't a multiple of 4.
        """
        if modality not in CAPTURED:
            raise ValueError(f"modality: expected visible or infrared; found {modality.key}")
        return self.decoders[modality.other.key](self.drawn(self.encoders[modality.key](images)))

    def cycle(self, images: torch.Tensor, modality: Modality) -> Cycle:
        """Returns what the losses look at, of images of one modality."""
        own, other = modality.key, modality.other.key
        code = self.encoders[own](images)
        drawn = self.drawn(code)
        reconstructed, translated = self.decoders[own](drawn), self.decoders[other](drawn)
        cycled_code = self.encoders[other](translated)
        return Cycle(code, reconstructed, translated, cycled_code, self.decoders[own](self.drawn(cycled_code)))

    def drawn(self, means: torch.Tensor) -> torch.Tensor:
        return sampled(means, self.noise) if self.training else means


class UnifiedNetwork(nn.Module):
    """Features of images that are first unified: each is joined with, or replaced by, its translation.

    translation  makes what an image lacks
    network      has `CHANNELS[unify]` input channels
    pixels       the range of the images
    unify        what the network sees: "multispectral", red, green, blue and infrared; or one modality's three channels

    An infrared channel is the mean of the three of an infrared image, real or made.
    """

    def __init__(self, translation: Translation, network: ReIDNetwork, pixels: PixelRange, unify: Unify) -> None:
        super().__init__()
        self.translation, self.network, self.pixels, self.unify = translation, network, pixels, unify

    @property
    def origin(self) -> str:
        """The pre-trained weights that the backbone started from."""
        return self.network.origin

    def forward(self, images: torch.Tensor, modality: torch.Tensor | Sequence[int]) -> ReIDOutput:
        """Returns the features of images (B, 3, H, W), normalized; modality: of each, on the host, as `ReIDNetwork`
        wants it."""
        return self.network(self.unified(images, modality), modality)

    def unified(self, images: torch.Tensor, modality: torch.Tensor | Sequence[int]) -> torch.Tensor:
        """Returns (B, `CHANNELS[unify]`, H, W), normalized: infrared, as a fourth channel, by the averages over the
        three channels of mean and deviation."""
        values = modality.tolist() if isinstance(modality, torch.Tensor) else modality
        runs = runs_of([Modality(value) for value in values])
        levels, pixels = self.pixels.signed(images), self.pixels
        if self.unify == "visible":
            return pixels.normalized(self.shown_as(Modality.VISIBLE, levels, runs))
        infrared = self.shown_as(Modality.INFRARED, levels, runs).mean(dim=1, keepdim=True)
        if self.unify == "infrared":
            return pixels.normalized(infrared.expand(-1, 3, -1, -1))
        fourth = ((infrared + 1) / 2 - pixels.mean.mean()) / pixels.std.mean()
        return torch.cat([pixels.normalized(self.shown_as(Modality.VISIBLE, levels, runs)), fourth], dim=1)

    def shown_as(self, wanted: Modality, levels: torch.Tensor, runs: Sequence[tuple[Modality, int]]) -> torch.Tensor:
        """Returns images (B, 3, H, W), in -1 .. 1, in one modality: as they are, or translated. Nothing depends on the
        other rows, so each run of rows is translated by itself."""
        pieces = levels.split([length for _, length in runs])
        shown = [
            piece if modality == wanted else self.translation(piece, modality).to(levels.dtype)
            for piece, (modality, _) in zip(pieces, runs, strict=True)
        ]
        return torch.cat(shown)
