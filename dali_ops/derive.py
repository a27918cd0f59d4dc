"""Derivations: how a derivative modality is synthesised from a recorded image.

Each takes the resized uint8 HWC image (visible: three channels, infrared: one) and three numbers, and gives a uint8 HWC
image of one or three channels. One channel is kept as long as possible, and float pictures are avoided: both are what
costs time on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from nvidia.dali import fn, types
from nvidia.dali.data_node import DataNode

from dali_ops.decode import FAMILIES, INFRARED, VISIBLE

# Gamma curves, evenly spaced in log(gamma), so that darkening and brightening are equally likely. Beyond these limits
# little is left of the dark or the bright half of a picture. 64 curves differ by less than 3 % each: more are not seen.
GAMMA_LIMITS = (0.4, 2.5)
GAMMA_CURVES = 64

# Gains of the channels of a spectrum. The upper limit saturates only what is brighter than 5/6 of full scale; the lower
# one leaves a channel dim but not lost; channels that differ by up to three times look clearly coloured.
SPECTRUM_LIMITS = (0.4, 1.2)


def gamma_tables() -> np.ndarray:
    """(GAMMA_CURVES, 256) uint8: row k maps a level v to 255 * (v / 255) ** gamma_k, rounded; gamma_0 is the lowest."""
    gammas = np.geomspace(*GAMMA_LIMITS, GAMMA_CURVES)
    levels = np.arange(256) / 255
    return np.rint(255 * levels[None, :] ** gammas[:, None]).astype(np.uint8)


def draw_nothing(generator: np.random.Generator, count: int) -> np.ndarray:
    """(count, 3) float32 zeros: the derivation has no parameters."""
    return np.zeros((count, 3), np.float32)


def draw_channel(generator: np.random.Generator, count: int) -> np.ndarray:
    """(count, 3) float32: the index of a channel (0, 1, 2), 0, 0."""
    return _first_column(generator.integers(3, size=count))


def draw_weights(generator: np.random.Generator, count: int) -> np.ndarray:
    """(count, 3) float32: weights of R, G and B, uniform over all that are >= 0 and add up to 1 (flat Dirichlet)."""
    return generator.dirichlet(np.ones(3), size=count).astype(np.float32)


def draw_gamma(generator: np.random.Generator, count: int) -> np.ndarray:
    """(count, 3) float32: the row of `gamma_tables`, 0, 0."""
    return _first_column(generator.integers(GAMMA_CURVES, size=count))


def draw_spectrum(generator: np.random.Generator, count: int) -> np.ndarray:
    """(count, 3) float32: gains of R, G and B, each uniform in SPECTRUM_LIMITS."""
    return generator.uniform(*SPECTRUM_LIMITS, size=(count, 3)).astype(np.float32)


def _first_column(values: np.ndarray) -> np.ndarray:
    parameters = np.zeros((len(values), 3), np.float32)
    parameters[:, 0] = values
    return parameters


def identity(image: DataNode, parameters: DataNode) -> DataNode:
    return image


def grey(image: DataNode, parameters: DataNode) -> DataNode:
    """0.299 R + 0.587 G + 0.114 B (ITU-R BT.601)."""
    return fn.color_space_conversion(image, image_type=types.RGB, output_type=types.GRAY)


def random_channel(image: DataNode, parameters: DataNode) -> DataNode:
    """One of the three channels."""
    channel = fn.cast(parameters[0], dtype=types.INT32)
    return image[:, :, channel : channel + 1]


def weighted_grey(image: DataNode, parameters: DataNode) -> DataNode:
    """w0 R + w1 G + w2 B."""
    return fn.coord_transform(image, M=fn.reshape(parameters, shape=[1, 3]), dtype=types.UINT8)


def gamma(image: DataNode, parameters: DataNode) -> DataNode:
    """Row parameters[0] of `gamma_tables`.

    DALI's tables are constants, so all curves lie in one table and a pixel finds its own by an offset: five times
    faster on the CPU than powers of floats.
    """
    offset = fn.cast(parameters[0] * 256, dtype=types.UINT16)
    index = fn.cast(image, dtype=types.UINT16) + (offset.gpu() if image.device == "gpu" else offset)
    table = gamma_tables().ravel().tolist()
    return fn.lookup_table(index, keys=list(range(len(table))), values=table, dtype=types.UINT8)


def gamma_grey(image: DataNode, parameters: DataNode) -> DataNode:
    return gamma(grey(image, parameters), parameters)


def equalize(image: DataNode, parameters: DataNode) -> DataNode:
    """Histogram equalisation."""
    return fn.equalize(image)


def inversion(image: DataNode, parameters: DataNode) -> DataNode:
    """255 - value: what is cold looks hot."""
    return types.Constant(255, dtype=types.UINT8) - image


def spectrum(image: DataNode, parameters: DataNode) -> DataNode:
    """A coloured image: the one channel times three gains, saturated at 255."""
    channels = [fn.brightness_contrast(image, brightness=parameters[channel]) for channel in range(3)]
    return fn.cat(*channels, axis=2)


@dataclass(frozen=True)
class Derivation:
    """A way to synthesise a derivative.

    name      as in configs
    families  the recorded families it can be applied to, of `decode.FAMILIES`
    channels  of the result, 1 or 3; None: as many as went in
    draw      (generator, n) -> (n, 3) float32 parameters of n images
    graph     (uint8 HWC images, their parameters) -> uint8 HWC images of one or three channels
    fixed     parameters in the middle of what is drawn, for testing, where nothing is random
    """

    name: str
    families: tuple[str, ...]
    channels: int | None
    draw: Callable[[np.random.Generator, int], np.ndarray]
    graph: Callable[[DataNode, DataNode], DataNode]
    fixed: tuple[float, float, float] = (0, 0, 0)


GREEN = (1, 0, 0)  # as draw_channel gives it
LUMINANCE = (0.299, 0.587, 0.114)  # of R, G and B, ITU-R BT.601
STRAIGHT = (int(np.abs(np.log(np.geomspace(*GAMMA_LIMITS, GAMMA_CURVES))).argmin()), 0, 0)  # the curve nearest gamma 1

DERIVATIONS = {
    derivation.name: derivation
    for derivation in (
        Derivation("identity", FAMILIES, None, draw_nothing, identity),
        Derivation("grey", (VISIBLE,), 1, draw_nothing, grey),
        Derivation("random_channel", (VISIBLE,), 1, draw_channel, random_channel, GREEN),
        Derivation("weighted_grey", (VISIBLE,), 1, draw_weights, weighted_grey, LUMINANCE),
        Derivation("gamma_grey", (VISIBLE,), 1, draw_gamma, gamma_grey, STRAIGHT),
        Derivation("equalize", (INFRARED,), 1, draw_nothing, equalize),
        Derivation("gamma", (INFRARED,), 1, draw_gamma, gamma, STRAIGHT),
        Derivation("inversion", (INFRARED,), 1, draw_nothing, inversion),
        Derivation("spectrum", (INFRARED,), 3, draw_spectrum, spectrum, (1, 1, 1)),
    )
}


def get_derivation(name: str, family: str) -> Derivation:
    """The derivation of that name; ValueError if there is none or it does not suit `family`."""
    suitable = [derivation.name for derivation in DERIVATIONS.values() if family in derivation.families]
    if name not in suitable:
        raise ValueError(f"derivation of {family}: expected one of {', '.join(suitable)}; found {name!r}")
    return DERIVATIONS[name]
