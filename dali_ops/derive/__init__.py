"""Derivations: how a derivative modality is synthesized from a captured image, in one stage or several.

Each takes a uint8 HWC image and three numbers and gives a uint8 HWC image of the same size. One channel is kept as long
as possible, and float images are avoided: both are what costs time on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nvidia.dali.data_node import DataNode

from dali_ops.derive import channels, color_jitter, levels, matrices, sharpness
from dali_ops.derive.matrices import Matrices
from dali_ops.derive.sampling import Sample, sample_nothing


@dataclass(frozen=True)
class Derivation:
    """A way to synthesize an image from another.

    name   as in configs
    takes  channels of the image it can be applied to, 1 or 3; None: any
    gives  channels of the result; None: as many as went in
    sample (generator, n) -> (n, 3) float32 parameters of n images
    graph  (uint8 HWC images, their parameters) -> uint8 HWC images; its docstring says what is computed
    fixed  parameters in the middle of those that are sampled, for testing, where nothing is random
    matrices  parameters (n, 3) -> (n, 3, 3): what it does to R, G and B of normalized images; None: it isn't for them
    tiles  (down, across) that an image is divided into: its height and width are multiples of them
    """

    name: str
    takes: int | None
    gives: int | None
    sample: Sample
    graph: Callable[[DataNode, DataNode], DataNode]
    fixed: tuple[float, float, float] = (0, 0, 0)
    matrices: Matrices | None = None
    tiles: tuple[int, int] = (1, 1)

    def divides(self, height: int, width: int) -> bool:
        """Whether images of that size can be derived."""
        return height % self.tiles[0] == 0 and width % self.tiles[1] == 0


def identity(image: DataNode, parameters: DataNode) -> DataNode:
    """The image itself."""
    return image


def _of_channels() -> list[Derivation]:
    """Returns those that also act on normalized images: each pixel's channels become linear combinations of them."""
    green, luminance, order = channels.GREEN, channels.LUMINANCE, channels.ORDERS[0]
    return [
        Derivation("identity", None, None, sample_nothing, identity, matrices=matrices.identity),
        Derivation("gray", 3, 1, sample_nothing, channels.gray, matrices=matrices.gray),
        Derivation("green", 3, 1, sample_nothing, channels.green, matrices=matrices.green),
        Derivation("random_channel", 3, 1, channels.sample_channel, channels.random_channel, green, matrices.chosen),
        Derivation(
            "weighted_gray", 3, 1, channels.sample_weights, channels.weighted_gray, luminance, matrices.weighted
        ),
        Derivation("channel_shuffle", 3, 3, channels.sample_order, channels.channel_shuffle, order, matrices.ordered),
        Derivation("channel_gains", 3, 3, channels.sample_gains, channels.channel_gains, (1, 1, 1), matrices.gains),
    ]


def _of_levels() -> list[Derivation]:
    jitter, factor, turn = color_jitter, color_jitter.sample_factor, color_jitter.sample_turn
    return [
        Derivation("gamma_gray", 3, 1, levels.sample_gamma, levels.gamma_gray, levels.STRAIGHT),
        Derivation("equalize", None, None, sample_nothing, levels.equalize),
        Derivation("clahe", 1, 1, sample_nothing, levels.clahe, tiles=(levels.TILES_DOWN, levels.TILES_ACROSS)),
        Derivation("gamma", None, None, levels.sample_gamma, levels.gamma, levels.STRAIGHT),
        Derivation("inversion", None, None, sample_nothing, levels.inversion),
        Derivation("brightness", None, None, factor, jitter.brightness, (1, 0, 0)),
        Derivation("contrast", None, None, factor, jitter.contrast, (1, 0, 0)),
        Derivation("saturation", 3, 3, factor, jitter.saturation, (1, 0, 0)),
        Derivation("hue", 3, 3, turn, jitter.hue, jitter.UNTURNED),
        Derivation("sharpness", None, None, sharpness.sample_sharpness, sharpness.sharpness),
        Derivation("spectrum", 1, 3, channels.sample_spectrum, channels.spectrum, (1, 1, 1)),
        Derivation("pseudo_color", 1, 3, levels.sample_palette, levels.pseudo_color),
    ]


DERIVATIONS = {derivation.name: derivation for derivation in (*_of_channels(), *_of_levels())}
