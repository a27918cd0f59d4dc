"""Weather: snow, frost, fog, light and rain. Spattered water and mud are in `spatter`."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import ndimage

from pipeline.corruptions.filters import gaussian, luma, magnified, motion_blurred, plasma, side_for

DROPS = np.float32(200 / 255)  # gray of falling water

# Red, green and blue of a picture of frost, and the deviation of its texture: means of photographs of frozen windows.
FROZEN = (
    ((0.30, 0.58, 0.65), 0.07),
    ((0.79, 0.81, 0.84), 0.08),
    ((0.79, 0.81, 0.84), 0.08),
    ((0.54, 0.60, 0.65), 0.11),
    ((0.44, 0.48, 0.53), 0.17),
)

SMALLEST = 256  # pixels, of the side of a picture of frost
DIRECTIONS = 10  # of its needles


def snow(image: np.ndarray, level: int, random: np.random.Generator) -> np.ndarray:
    mean, deviation, size, least, radius, sigma, share = (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    )[level - 1]
    grains = mean + deviation * random.standard_normal((*image.shape[:2], 1), np.float32)
    flakes = magnified(grains, size)
    flakes = np.where(flakes < least, 0, flakes).clip(0, 1)
    falling = motion_blurred(flakes, radius, sigma, random.uniform(-135, -45))
    whitened = share * image + (1 - share) * np.maximum(image, 1.5 * luma(image) + 0.5)
    return whitened + falling + falling[::-1, ::-1]


def frost(image: np.ndarray, level: int, random: np.random.Generator) -> np.ndarray:
    """A part of one of five pictures of frost, which are synthesized, is added to the image."""
    of_image, of_frost = ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))[level - 1]
    height, width = image.shape[:2]
    number = int(random.integers(len(FROZEN)))
    texture = frost_texture(number, max(2 * side_for(image), SMALLEST))
    top, left = random.integers(0, [texture.shape[0] - height, texture.shape[1] - width], endpoint=True)
    color, deviation = FROZEN[number]
    frozen = np.array(color, np.float32) + deviation * texture[top : top + height, left : left + width, None]
    return of_image * image + of_frost * (frozen if image.shape[2] == 3 else luma(frozen))


@lru_cache(maxsize=2 * len(FROZEN))
def frost_texture(number: int, side: int) -> np.ndarray:
    """Returns (side, side) float32 of mean 0 and deviation 1: needles of ice in many directions, over clouds."""
    random = np.random.default_rng((number, side))
    ice = np.zeros((side, side), np.float32)
    for direction in random.uniform(0, 360, DIRECTIONS):
        seeds = (random.random((side, side, 1), np.float32) < 0.004).astype(np.float32)
        needles = motion_blurred(gaussian(seeds, 0.7), int(random.integers(8, 24)), 12, direction)[..., 0]
        ice = np.maximum(ice, needles / needles.max())
    texture = np.sqrt(ice) + plasma(side, 1.7, random)
    return (texture - texture.mean()) / texture.std()


def fog(image: np.ndarray, level: int, random: np.random.Generator) -> np.ndarray:
    density, decay = ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))[level - 1]
    height, width = image.shape[:2]
    clouds = plasma(side_for(image), decay, random)[:height, :width, None]
    brightest = image.max()
    return (image + density * clouds) * (brightest / (brightest + density))


def brightness(image: np.ndarray, level: int, random: np.random.Generator) -> np.ndarray:
    """The value of HSV is raised, at most to 1; hue and saturation stay."""
    more = (0.1, 0.2, 0.3, 0.4, 0.5)[level - 1]
    value = image.max(axis=2, keepdims=True)
    raised = np.minimum(value + more, 1)
    return np.where(value > 0, image * (raised / np.where(value > 0, value, 1)), raised)


def rain(image: np.ndarray, level: int, random: np.random.Generator) -> np.ndarray:
    """Slanted lines, blurred with the image, which gets darker: drizzle, heavy and torrential rain.

    As albumentations 0.5.2 draws them for the authors' code; never longer than the image is high.
    """
    length, area = ((10, 770), (30, 600), (30, 600), (60, 500), (60, 500))[level - 1]
    height, width = image.shape[:2]
    length, count = max(min(length, height - 1), 1), height * width // area  # a line for each so many pixels
    slant = int(random.uniform(-10, 10))
    left = random.integers(min(slant, 0), width - max(slant, 0), count, endpoint=True)
    top = random.integers(0, height - length, count, endpoint=True)
    along = np.arange(length + 1)
    rows = top[:, None] + along
    columns = left[:, None] + np.rint(slant * along / length).astype(int)
    inside = (rows < height) & (columns >= 0) & (columns < width)
    rained = image.copy()
    rained[rows[inside], columns[inside]] = DROPS
    blurred = ndimage.uniform_filter(rained, 2 + level, mode="mirror", axes=(0, 1))
    return blurred - np.float32(0.05 + 0.05 * level)
