"""Derivations that map levels to levels. uint8 HWC in and out."""

from __future__ import annotations

import numpy as np
from nvidia.dali import fn, types
from nvidia.dali.data_node import DataNode
from nvidia.dali.types import DALIDataType

from dali_ops.derive.channels import gray
from dali_ops.derive.sampling import first_parameter

# Gamma curves, evenly spaced in log(gamma), so that darkening and brightening are equally likely. Beyond these limits
# little is left of the dark or the bright half of an image. 64 curves differ by less than 3 % each: more are not seen.
GAMMA_LIMITS = (0.4, 2.5)
GAMMA_CURVES = 64
STRAIGHT = (int(np.abs(np.log(np.geomspace(*GAMMA_LIMITS, GAMMA_CURVES))).argmin()), 0, 0)  # the curve nearest gamma 1

# Of CLAHE. Tiles of 36 x 36 pixels at 288 x 144; no level may be more than twice as frequent as if all were alike.
# Where the tiles don't divide an image, DALI 2.4 mirrors its edge on a CPU, but makes smaller tiles on a GPU, which is
# another function (and reads beyond small images): such sizes are an error on both (`stages.check_tiles`).
TILES_DOWN, TILES_ACROSS, CLIP_LIMIT = 8, 4, 2.0

# Palettes of thermal cameras, dark to bright, as colors between which a level is interpolated; then the same reversed.
IRON = ((0, 0, 0), (70, 0, 120), (190, 30, 90), (250, 130, 20), (255, 255, 200))
RAINBOW = ((0, 0, 130), (0, 110, 255), (0, 210, 120), (250, 220, 0), (220, 20, 20))
PALETTES = (IRON, RAINBOW, IRON[::-1], RAINBOW[::-1])


def gamma_tables() -> np.ndarray:
    """Returns (GAMMA_CURVES, 256) uint8: row k maps a level v to 255 * (v / 255) ** gamma_k, rounded; gamma_0 is the
    lowest."""
    gammas = np.geomspace(*GAMMA_LIMITS, GAMMA_CURVES)
    levels = np.arange(256) / 255
    return np.rint(255 * levels[None, :] ** gammas[:, None]).astype(np.uint8)


def palette_tables() -> np.ndarray:
    """Returns (palettes, 3, 256) uint8: the R, G and B of every level."""
    levels, anchors = np.arange(256), np.linspace(0, 255, len(IRON))
    tables = [[np.interp(levels, anchors, colors) for colors in np.transpose(palette)] for palette in PALETTES]
    return np.rint(tables).astype(np.uint8)


def sample_gamma(generator: np.random.Generator, count: int) -> np.ndarray:
    """Returns (count, 3) float32: the row of `gamma_tables`, 0, 0."""
    return first_parameter(generator.integers(GAMMA_CURVES, size=count))


def sample_palette(generator: np.random.Generator, count: int) -> np.ndarray:
    """Returns (count, 3) float32: the number of a palette, 0, 0."""
    return first_parameter(generator.integers(len(PALETTES), size=count))


def gamma(image: DataNode, parameters: DataNode) -> DataNode:
    """255 (v / 255)^g with a random g of 0.4 to 2.5.

    parameters[0] is the row of `gamma_tables`.
    """
    return look_up(image, gamma_tables(), parameters[0])


def gamma_gray(image: DataNode, parameters: DataNode) -> DataNode:
    """Gray, then gamma."""
    return gamma(gray(image, parameters), parameters)


def equalize(image: DataNode, parameters: DataNode) -> DataNode:
    """Histogram equalisation, of each channel."""
    return fn.equalize(image)


def clahe(image: DataNode, parameters: DataNode) -> DataNode:
    """Contrast-limited histogram equalisation in 8 x 4 tiles, which divide the image (Zuiderveld, Graphics Gems IV,
    1994)."""
    return fn.clahe(image, tiles_x=TILES_ACROSS, tiles_y=TILES_DOWN, clip_limit=CLIP_LIMIT)


def inversion(image: DataNode, parameters: DataNode) -> DataNode:
    """255 - v: what is cold looks hot."""
    return types.Constant(255, dtype=DALIDataType.UINT8) - image


def pseudo_color(image: DataNode, parameters: DataNode) -> DataNode:
    """One channel in the colors of a random palette of thermal cameras.

    parameters[0] is its number.
    """
    return fn.cat(*[look_up(image, palette_tables()[:, place], parameters[0]) for place in range(3)], axis=2)


def look_up(image: DataNode, tables: np.ndarray, row: DataNode) -> DataNode:
    """Maps levels through a row of `tables` (rows, 256) uint8.

    DALI's tables are constants, so all rows are in one table and a pixel finds its own by an offset: five times faster
    on the CPU than powers of floats.
    """
    offset = fn.cast(row * 256, dtype=DALIDataType.UINT16)
    index = fn.cast(image, dtype=DALIDataType.UINT16) + (offset.gpu() if image.device == "gpu" else offset)
    values = tables.ravel().tolist()
    return fn.lookup_table(index, keys=list(range(len(values))), values=values, dtype=DALIDataType.UINT8)
