"""Learned derivations: the X modality of XIV, the middle modalities of MMN."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import torch
from torch import nn

from pipeline.routing import apply_by_key
from pipeline.settings import LearnedDerivation

INITIAL_WEIGHT = 0.333
AS_IT_IS = "as_it_is"  # the key of rows that aren't derived

Images = Callable[[torch.Tensor], torch.Tensor]


def pixelwise(inputs: int, outputs: int) -> nn.Conv2d:
    """Returns a 1 x 1 convolution whose weights start at 0.333 and whose biases at 0."""
    convolution = nn.Conv2d(inputs, outputs, kernel_size=1)
    assert convolution.bias is not None  # a convolution has one unless told otherwise
    nn.init.constant_(convolution.weight, INITIAL_WEIGHT)
    nn.init.zeros_(convolution.bias)
    return convolution


class ModalityGenerator(nn.Module):
    """Derive an image per pixel: 3 channels -> 1 -> ReLU -> 3, two 1 x 1 convolutions, on the normalized image.

    Li et al., "Infrared-Visible Cross-Modal Person Re-Identification with an X Modality", AAAI 2020. All weights start
    at 0.333 and all biases at 0, so the first output is about the gray image, its negative values set to 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.to_gray = pixelwise(3, 1)
        self.to_color = pixelwise(1, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Derives (B, 3, H, W) from (B, 3, H, W), of the weights' type also under autocast: an image is kept exact."""
        with torch.autocast(images.device.type, enabled=False):
            gray = self.to_gray(images.to(self.to_gray.weight.dtype))
            return self.to_color(torch.relu(gray))


class MiddleEncoder(nn.Sequential):
    """3 channels -> 1 -> ReLU -> 1 -> ReLU -> batch norm, per pixel: of the images of one captured modality."""

    def __init__(self) -> None:
        super().__init__(pixelwise(3, 1), nn.ReLU(), pixelwise(1, 1), nn.ReLU(), nn.BatchNorm2d(1))


class Generators(nn.ModuleDict):
    """A `ModalityGenerator` for each captured modality that one is derived from, by its key."""

    def __init__(self, sources: Iterable[str]) -> None:
        made: dict[str, nn.Module] = {source: ModalityGenerator() for source in sources}
        super().__init__(made | {AS_IT_IS: nn.Identity()} if made else {})

    def forward(self, images: torch.Tensor, runs: Sequence[tuple[str, int]]) -> torch.Tensor:
        """Returns images (B, 3, H, W), those of a source derived; runs: of rows of a source, or AS_IT_IS."""
        return apply_by_key(images, runs, self)


class MiddleGenerators(nn.Module):
    """An encoder for each captured modality and one decoder for all, 1 channel -> 3 -> ReLU, of the middle modalities.

    Zhang, Yan, Lu, Wang, "Towards a Unified Middle Modality Learning for Visible-Infrared Person Re-Identification",
    ACM MM 2021. Infrared images are gray, but have three channels here as there. Called as `Generators`.
    """

    def __init__(self, sources: Iterable[str]) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({source: MiddleEncoder() for source in sources})
        self.decoder = pixelwise(1, 3)
        self.as_it_is = nn.Identity()

    def derived(self, source: str, images: torch.Tensor) -> torch.Tensor:
        """Derives (B, 3, H, W) >= 0 from the images (B, 3, H, W) of a source, of the weights' type."""
        with torch.autocast(images.device.type, enabled=False):
            return torch.relu(self.decoder(self.encoders[source](images.to(self.decoder.weight.dtype))))

    def forward(self, images: torch.Tensor, runs: Sequence[tuple[str, int]]) -> torch.Tensor:
        of_source: Mapping[str, Images] = {source: partial(self.derived, source) for source in self.encoders}
        return apply_by_key(images, runs, {**of_source, AS_IT_IS: self.as_it_is})


def generators_of(kind: LearnedDerivation, sources: Sequence[str]) -> Generators | MiddleGenerators:
    """Returns the learned derivations of the images of `sources`, keys of captured modalities; possibly none."""
    return MiddleGenerators(sources) if kind == "middle" and sources else Generators(sources)
