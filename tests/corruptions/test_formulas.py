"""Kinds of corruption beside another implementation of them, and their parts beside loops."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from pipeline.corruptions.blur import origins
from pipeline.corruptions.corrupt import CORRUPTIONS, corrupt
from pipeline.corruptions.filters import magnified, motion_blurred, plasma
from pipeline.corruptions.spatter import STRONG, WEAK, edges, equalized
from pipeline.corruptions.weather import rain
from tests.corruptions.pictures import picture

VALUES = np.load(Path(__file__).parents[1] / "fixtures/corruptions/imagecorruptions.npz")
FIXED = [kind for kind in VALUES if VALUES[kind].ndim == 4]
DRAWN = [kind for kind in VALUES if VALUES[kind].ndim == 2]


def test_all_but_two_kinds_are_compared():
    assert {*FIXED, *DRAWN} == {*CORRUPTIONS} - {"frost", "rain"}


@pytest.mark.parametrize("kind", FIXED)
def test_kinds_without_chance_are_those_of_imagecorruptions(kind):
    for level, expected in zip((1, 3, 5), VALUES[kind], strict=True):
        found = corrupt(picture(24, 12), kind, level, 0, "").astype(int)
        assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize("kind", DRAWN)
def test_kinds_with_chance_are_as_far_from_the_image_as_those_of_imagecorruptions(kind):
    image = picture(96, 48)
    for level, expected in enumerate(VALUES[kind], start=1):
        drawn = np.array([corrupt(image, kind, level, 0, str(number)) for number in range(24)], float)
        found = np.abs(drawn - image).mean(), drawn.mean()
        np.testing.assert_allclose(found, expected, rtol=0.15)


def test_glass_copies_pixels_one_after_the_other():
    height, width, most = 14, 11, 2
    moves = np.random.default_rng(0).integers(-most, most, (2, height, width))
    image = np.arange(height * width).reshape(height, width)
    expected = image.copy()
    for row in range(height - most, most, -1):
        for column in range(width - most, most, -1):
            down, right = moves[:, row, column]
            expected[row, column] = expected[row + down, column + right]
    np.testing.assert_array_equal(image.ravel()[origins(moves, most)], expected.ravel())


@pytest.mark.parametrize("degrees", [-30, 0, 70, -135])
def test_a_moving_camera_sees_shifted_copies(degrees):
    image, radius, sigma = picture(12, 9).astype(np.float32), 3, 2.0
    weights = np.exp(-(np.arange(2 * radius + 1) ** 2) / (2 * sigma**2))
    expected = np.zeros_like(image)
    angle = np.deg2rad(degrees)
    for step, weight in enumerate(weights / weights.sum()):
        down, right = (-int(np.ceil(step * part - 0.5)) for part in (np.sin(angle), np.cos(angle)))
        for row in range(12):
            for column in range(9):
                expected[row, column] += weight * image[np.clip(row - down, 0, 11), np.clip(column - right, 0, 8)]
    np.testing.assert_allclose(motion_blurred(image, radius, sigma, degrees), expected, rtol=1e-4)


@pytest.mark.parametrize("factor", [1, 1.07, 2.5, 4])
def test_magnified_is_scipys_zoom_of_the_middle(factor):
    image = picture(24, 15).astype(np.float32)
    kept = [int(np.ceil(size / factor)) for size in (24, 15)]
    top, left = ((size - own) // 2 for size, own in zip((24, 15), kept, strict=True))
    middle = image[top : top + kept[0], left : left + kept[1]]
    expected = ndimage.zoom(middle, (factor, factor, 1), order=1)[:24, :15]
    np.testing.assert_allclose(magnified(image, factor), expected, atol=1e-3)


def test_plasma_is_made_square_by_square():
    """The same generator gives the noise of all squares of a step, then that of their edges."""
    side, decay = 8, 1.5
    random, heights = np.random.default_rng(0), np.zeros((side, side))
    step, amplitude = side, 100.0
    while step >= 2:
        half, count = step // 2, side // step
        centers = [(r * step + half, c * step + half) for r in range(count) for c in range(count)]
        above = [(r * step, c * step + half) for r in range(count) for c in range(count)]
        beside = [(r * step + half, c * step) for r in range(count) for c in range(count)]
        for points, straight in ((centers, False), (above, True), (beside, True)):
            noise = amplitude * random.uniform(-amplitude, amplitude, len(points))
            for (row, column), own in zip(points, noise, strict=True):
                around = [(-half, 0), (half, 0), (0, -half), (0, half)]
                around = around if straight else [(y, x) for y in (-half, half) for x in (-half, half)]
                mean = sum(heights[(row + y) % side, (column + x) % side] for y, x in around) / 4
                heights[row, column] = mean + own
        step, amplitude = half, amplitude / decay
    heights -= heights.min()
    np.testing.assert_allclose(plasma(side, decay, np.random.default_rng(0)), heights / heights.max(), rtol=1e-5)


def test_edges_are_cannys():
    smooth = ndimage.gaussian_filter(np.random.default_rng(3).uniform(-127, 127, (20, 16)), 1.5)
    image = np.rint(128 + smooth * np.linspace(0.2, 3, 16))  # flat on the left, steep on the right
    padded = np.pad(image, 1, mode="edge")
    gradient, across = np.zeros((22, 18)), {}
    for row in range(20):
        for column in range(16):
            window = padded[row : row + 3, column : column + 3]
            right = (window[:, 2] - window[:, 0]) @ [1, 2, 1]
            down = (window[2] - window[0]) @ [1, 2, 1]
            gradient[row + 1, column + 1] = abs(right) + abs(down)
            # across the edge is the direction of the gradient, in steps of 45 degrees, downwards being positive
            across[row, column] = round(np.rad2deg(np.arctan2(down, right)) / 45) % 4
    steps = {0: (0, 1), 1: (1, 1), 2: (1, 0), 3: (1, -1)}
    weak = set()
    for (row, column), direction in across.items():
        down, right = steps[direction]
        own = gradient[row + 1, column + 1]
        before, after = gradient[row + 1 - down, column + 1 - right], gradient[row + 1 + down, column + 1 + right]
        if own > WEAK and own > before and own >= after:
            weak.add((row, column))
    found = {place for place in weak if gradient[place[0] + 1, place[1] + 1] > STRONG}
    frontier = list(found)
    while frontier:
        row, column = frontier.pop()
        near = {(row + y, column + x) for y in (-1, 0, 1) for x in (-1, 0, 1)} & weak - found
        found |= near
        frontier += near
    expected = np.zeros((20, 16), bool)
    expected[tuple(np.array(sorted(found)).T)] = True
    assert 10 < expected.sum() < len(weak), "some edges are joined to no strong one"
    np.testing.assert_array_equal(edges(image), expected)


def test_equalized_levels_are_spread():
    levels = np.repeat([10, 20, 21, 90], [4, 2, 1, 3]).astype(float).reshape(2, 5)
    assert sorted({*equalized(levels).ravel()}) == [0, round(255 * 2 / 6), round(255 * 3 / 6), 255]
    np.testing.assert_array_equal(equalized(np.full((3, 3), 7.0)), np.full((3, 3), 7.0))


def test_rain_falls_in_lines_and_the_sky_gets_darker():
    image = np.full((96, 48, 3), 0.4, np.float32)
    for level in (1, 5):
        darker = image - (0.05 + 0.05 * level)
        rained = rain(image, level, np.random.default_rng(0))
        wet = np.abs(rained - darker).max(axis=2) > 1e-6
        assert 0.03 < wet.mean() < 0.99 and (rained - darker).min() > -1e-6
        np.testing.assert_allclose(rained[~wet], darker[~wet], atol=1e-6)
