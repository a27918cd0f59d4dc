"""Derivations that choose, weigh or exchange channels. uint8 HWC in and out; the visible ones take three channels."""

from __future__ import annotations

import itertools

import numpy as np
from nvidia.dali import fn, types
from nvidia.dali.data_node import DataNode
from nvidia.dali.types import DALIDataType, DALIImageType

from dali_ops.derive.sampling import first_parameter

GREEN = (1, 0, 0)  # as sample_channel gives it
LUMINANCE = (0.299, 0.587, 0.114)  # of R, G and B, ITU-R BT.601

# All orders of R, G and B but their own; the first is BGR.
ORDERS = tuple(order for order in reversed([*itertools.permutations(range(3), 3)]) if order != (0, 1, 2))

# Gains of the channels of a spectrum. The upper limit saturates only what is brighter than 5/6 of full scale; the lower
# one leaves a channel dim but not lost; channels that differ by up to three times look clearly colored.
SPECTRUM_LIMITS = (0.4, 1.2)
GAIN_LIMITS = (0.02, 1.0)  # of channels that are darkened, as in the code of MSCMNet (Hua-XC/MSCMNet)


def sample_channel(generator: np.random.Generator, count: int) -> np.ndarray:
    """Returns (count, 3) float32: the index of a channel (0, 1, 2), 0, 0."""
    return first_parameter(generator.integers(3, size=count))


def sample_weights(generator: np.random.Generator, count: int) -> np.ndarray:
    """Returns (count, 3) float32: weights of R, G and B, uniform over all that are >= 0 and sum to 1.

    That is a flat Dirichlet distribution.
    """
    return generator.dirichlet(np.ones(3), size=count).astype(np.float32)


def sample_order(generator: np.random.Generator, count: int) -> np.ndarray:
    """Returns (count, 3) float32: which channel becomes R, G and B, one of ORDERS."""
    return np.array(ORDERS, np.float32)[generator.integers(len(ORDERS), size=count)]


def sample_gains(generator: np.random.Generator, count: int) -> np.ndarray:
    """Returns (count, 3) float32: gains of R, G and B, each uniform in GAIN_LIMITS."""
    return generator.uniform(*GAIN_LIMITS, size=(count, 3)).astype(np.float32)


def sample_spectrum(generator: np.random.Generator, count: int) -> np.ndarray:
    """Returns (count, 3) float32: gains of R, G and B, each uniform in SPECTRUM_LIMITS."""
    return generator.uniform(*SPECTRUM_LIMITS, size=(count, 3)).astype(np.float32)


def gray(image: DataNode, parameters: DataNode) -> DataNode:
    """0.299 R + 0.587 G + 0.114 B (ITU-R BT.601)."""
    return fn.color_space_conversion(image, image_type=DALIImageType.RGB, output_type=DALIImageType.GRAY)


def random_channel(image: DataNode, parameters: DataNode) -> DataNode:
    """One of R, G and B."""
    return channel(image, parameters[0])


def green(image: DataNode, parameters: DataNode) -> DataNode:
    """The green channel."""
    return image[:, :, 1:2]


def weighted_gray(image: DataNode, parameters: DataNode) -> DataNode:
    """w0 R + w1 G + w2 B with random weights that add up to 1."""
    return fn.coord_transform(image, M=fn.reshape(parameters, shape=[1, 3]), dtype=DALIDataType.UINT8)


def channel_shuffle(image: DataNode, parameters: DataNode) -> DataNode:
    """R, G and B in another order."""
    return fn.cat(*[channel(image, parameters[place]) for place in range(3)], axis=2)


def channel_gains(image: DataNode, parameters: DataNode) -> DataNode:
    """R, G and B darkened, each by its own random gain of 0.02 to 1."""
    channels = [channel(image, types.Constant(place)) for place in range(3)]
    darkened = [fn.brightness_contrast(one, brightness=parameters[place]) for place, one in enumerate(channels)]
    return fn.cat(*darkened, axis=2)


def spectrum(image: DataNode, parameters: DataNode) -> DataNode:
    """A colored image: the one channel times three random gains, saturated at 255."""
    return fn.cat(*[fn.brightness_contrast(image, brightness=parameters[place]) for place in range(3)], axis=2)


def channel(image: DataNode, number: DataNode) -> DataNode:
    """Returns the channel `number` of an image, as an image of one channel."""
    number = fn.cast(number, dtype=DALIDataType.INT32)
    return image[:, :, number : number + 1]
