"""The boxes that the graphs paste, as the GPU's kernel takes them: it misreads empty ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from nvidia.dali import fn, types

from dali_ops import parameters as layout
from dali_ops.derive import DERIVATIONS
from dali_ops.derive.stages import Stage, apply_stages
from dali_ops.execution import new_pipeline
from dali_ops.geometry import crop, windows
from dali_ops.mixing import MIXINGS, PATCHES_ACROSS, PATCHES_DOWN
from tests.dali_ops.paste_kernel import paste, sweep

COUNT = 1000
SIZES = [(24, 12), (31, 17), (6, 5), (3, 2)]  # the last are too small for all patches to have pixels


@pytest.fixture()
def pasted(monkeypatch):
    """Runs a graph over numbers (n, ...) and gives the boxes of its paste: sources, sizes, targets, (n, boxes, 2) each.

    They are read where `multi_paste` gets them, and are the same on a GPU: arguments are made on the host.
    """
    asked, multi_paste = [], fn.multi_paste

    def spy(*images, **arguments):
        asked.append([arguments[name] for name in ("in_anchors", "shapes", "out_anchors")])
        return multi_paste(*images, **arguments)

    monkeypatch.setattr(fn, "multi_paste", spy)

    def run(graph: Callable, numbers: np.ndarray, height: int, width: int) -> list[np.ndarray]:
        kind = types.FLOAT if numbers.dtype == np.float32 else types.INT32
        images = np.zeros((len(numbers), height, width, 3), np.uint8)
        pipeline = new_pipeline(
            batch_size=len(numbers), device="cpu", device_id=None, decode="cpu", threads=1, prefetch=1
        )
        with pipeline:
            image = fn.external_source(lambda: images, dtype=types.UINT8, layout="HWC")
            graph(image, fn.external_source(lambda: numbers, dtype=kind, ndim=numbers.ndim - 1))
            (boxes,) = asked
            pipeline.set_outputs(*boxes)
        return [np.array(output.as_tensor()) for output in pipeline.run()]

    return run


def assert_pasted_as_meant(boxes: list[np.ndarray], height: int, width: int, expected: Callable | None = None) -> int:
    """The sweep shows what is meant for every sample; how many of them have empty boxes.

    Where `expected` (number of the sample -> output) isn't given, what is meant is one box after the other.
    """
    count = boxes[0].shape[1]
    images = np.arange(1, count * height * width + 1).reshape(count, height, width)
    for number, (sources, sizes, targets) in enumerate(zip(*boxes, strict=True)):
        found = sweep(images, sources, sizes, targets)
        meant = paste(images, sources, sizes, targets) if expected is None else expected(number, images)
        np.testing.assert_array_equal(found, meant)
    return int((boxes[1] == 0).any(axis=(1, 2)).sum())


def test_the_sweep_pastes_boxes_with_pixels_and_never_closes_an_empty_one():
    generator, images = np.random.default_rng(0), np.arange(1, 4 * 20 * 10 + 1).reshape(4, 20, 10)
    for _ in range(COUNT):
        sizes = generator.integers(1, (20, 10), (4, 2), endpoint=True)
        sources, targets = (generator.integers(0, (20, 10) - sizes, endpoint=True) for _ in range(2))
        np.testing.assert_array_equal(sweep(images, sources, sizes, targets), paste(images, sources, sizes, targets))
    corners, sizes = np.array([[0, 0], [5, 2]]), np.array([[20, 10], [0, 0]])
    found = sweep(images[:2], corners, sizes, corners)
    meant = images[0].copy()
    assert (paste(images[:2], corners, sizes, corners) == meant).all()
    meant[5:, 2:] = images[1, 5:, 2:]
    assert (found == meant).all()


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_stage_covers_all_of_an_image_or_nothing(pasted, height, width):
    stages = [Stage(DERIVATIONS["inversion"], 0.5)]
    numbers = np.zeros((COUNT, layout.width(1)), np.float32)
    numbers[:, layout.applied(0)] = applied = np.random.default_rng(1).integers(2, size=COUNT)
    size = {"height": height, "width": width}
    boxes = pasted(lambda image, sampled: apply_stages(image, 3, stages, sampled, **size), numbers, height, width)
    empty = assert_pasted_as_meant(boxes, height, width, lambda number, images: images[int(applied[number])])
    assert empty == (applied == 0).sum() > 0


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("mixing", MIXINGS)
def test_parts_that_show_through_are_those_that_were_sampled(pasted, mixing, height, width):
    generator = np.random.default_rng(2)
    sampled = MIXINGS[mixing].sample(generator, COUNT, height, width) * generator.integers(2, size=(COUNT, 1))
    sampled = sampled.astype(np.float32)
    size = {"height": height, "width": width}
    boxes = pasted(lambda image, numbers: MIXINGS[mixing].graph(image, image, numbers, **size), sampled, height, width)
    assert assert_pasted_as_meant(boxes, height, width, lambda *sample: mixed(mixing, sampled, *sample)) > COUNT / 4


def mixed(mixing: str, sampled: np.ndarray, number: int, images: np.ndarray) -> np.ndarray:
    """Image 0 under the boxes that the numbers of a sample say."""
    (height, width), output = images.shape[1:], images[0].copy()
    if mixing == "cutmix":
        top, left, down, across = sampled[number].astype(int)
        output[top : top + down, left : left + across] = images[1, top : top + down, left : left + across]
        return output
    for patch in range(PATCHES_DOWN * PATCHES_ACROSS):
        if int(sampled[number, 0]) >> patch & 1:
            row, column = divmod(patch, PATCHES_ACROSS)
            y = slice(row * height // PATCHES_DOWN, (row + 1) * height // PATCHES_DOWN)
            x = slice(column * width // PATCHES_ACROSS, (column + 1) * width // PATCHES_ACROSS)
            output[y, x] = images[1 + patch, y, x]
    return output


@pytest.mark.parametrize("fill", [0, 127])
@pytest.mark.parametrize(("height", "width", "pad"), [(24, 12, 4), (24, 12, 30), (6, 5, 9), (6, 5, 5)])
def test_a_crop_shows_its_window_and_a_level_around_it(pasted, height, width, pad, fill):
    numbers = np.zeros((COUNT, 1, layout.width(0)), np.float32)
    numbers[..., layout.CROP] = np.random.default_rng(3).integers(0, 2 * pad, (COUNT, 1, 2), endpoint=True)
    window = windows(numbers, height, width, pad)
    graph = partial(crop, height=height, width=width, fill=fill)
    boxes = pasted(lambda image, sampled: graph(image, 3, sampled, 0), window, height, width)

    def expected(number: int, images: np.ndarray) -> np.ndarray:
        top, left = numbers[number, 0, layout.CROP].astype(int)
        if not fill:
            return np.pad(images[0], pad)[top : top + height, left : left + width]
        inside = np.pad(np.ones_like(images[0]), pad)[top : top + height, left : left + width]
        return np.where(inside, np.pad(images[1], pad)[top : top + height, left : left + width], images[0])

    empty = assert_pasted_as_meant(boxes, height, width, expected)
    assert (empty > 0) == (pad >= min(height, width))
