from __future__ import annotations

import numpy as np
import pytest
from nvidia.dali import fn, types

from dali_ops.derive import DERIVATIONS, channels, levels, sharpness
from dali_ops.derive.sampling import sample_nothing
from dali_ops.derive.stages import Stage, check_tiles
from dali_ops.execution import new_pipeline
from dali_ops.reference.derive import derive

PAIRS = [(name, it.takes) for name, it in DERIVATIONS.items() if it.takes]
PAIRS += [(name, channels) for name, it in DERIVATIONS.items() if not it.takes for channels in (1, 3)]
COUNT = 16
SIZES = [(32, 24), (31, 17), (6, 5), (144, 72), (64, 32)]
WITHOUT_CHANCE = [name for name, it in DERIVATIONS.items() if it.sample is sample_nothing]


def run_graph(name: str, images: np.ndarray, numbers: np.ndarray, place: dict) -> np.ndarray:
    pipeline = new_pipeline(batch_size=len(images), threads=1, prefetch=1, **place)
    with pipeline:
        image = fn.external_source(lambda: images, dtype=types.UINT8, layout="HWC")
        parameters = fn.external_source(lambda: numbers, dtype=types.FLOAT, ndim=1)
        image = image.gpu() if place["device"] == "gpu" else image
        pipeline.set_outputs(DERIVATIONS[name].graph(image, parameters))
    (derived,) = pipeline.run()
    return np.asarray(derived.as_cpu().as_tensor())


def noise(channels: int, height: int = 32, width: int = 24) -> np.ndarray:
    """All levels in the first, two levels in the second, one level in the third image; smooth; random otherwise."""
    images = np.random.default_rng(0).integers(0, 256, (COUNT, height, width, channels), dtype=np.uint8)
    slope = np.linspace(0, 255, images[0].size).reshape(images[0].shape)
    images[0] = np.arange(images[0].size).reshape(images[0].shape) % 256
    images[1] = np.where(images[1] < 128, 40, 200)
    images[2] = 77
    images[3:8] = 0.2 * images[3:8] + 0.7 * slope
    return images


@pytest.mark.parametrize(
    ("name", "channels", "height", "width"),
    [(*pair, *size) for pair in PAIRS for size in SIZES if DERIVATIONS[pair[0]].divides(*size)],
)
def test_graph_equals_twin(name, channels, height, width, place, assert_same_levels):
    images = noise(channels, height, width)
    numbers = DERIVATIONS[name].sample(np.random.default_rng(1), COUNT)
    derived = run_graph(name, images, numbers, place)
    expected = np.stack([derive(*pair) for pair in zip(images, [name] * COUNT, numbers, strict=True)])
    assert derived.dtype == np.uint8
    assert derived.shape == expected.shape == (COUNT, height, width, DERIVATIONS[name].gives or channels)
    assert_same_levels(np.abs(derived.astype(int) - expected), name)


@pytest.mark.parametrize(("height", "width"), [(31, 16), (32, 18), (300, 150), (6, 5), (4, 4)])
def test_sizes_that_tiles_do_not_divide_are_refused(height, width):
    message = "clahe: expected a height that is a multiple of 8 and a width that is a multiple of 4, its tiles; found "
    with pytest.raises(ValueError, match=f"{message}height {height}, width {width}$"):
        check_tiles([Stage(DERIVATIONS["gamma"]), Stage(DERIVATIONS["clahe"], 0.1)], height, width)


@pytest.mark.parametrize(("height", "width"), [(288, 144), (384, 128), (256, 128), (64, 32), (8, 4)])
def test_sizes_that_tiles_divide_and_derivations_without_tiles_are_taken(height, width):
    check_tiles([Stage(derivation) for derivation in DERIVATIONS.values()], height, width)
    without = [Stage(derivation) for name, derivation in DERIVATIONS.items() if name != "clahe"]
    check_tiles(without, height + 1, width + 1)


@pytest.mark.parametrize(("name", "channels"), [pair for pair in PAIRS if pair[0] != "identity"])
def test_derivation_changes_the_image(name, channels):
    images = noise(channels)[3:]
    numbers = DERIVATIONS[name].sample(np.random.default_rng(1), len(images))
    derived = np.stack([derive(*pair) for pair in zip(images, [name] * COUNT, numbers, strict=False)])
    assert np.any(np.broadcast_to(derived, (*derived.shape[:3], 3)) != images)


@pytest.mark.parametrize("name", DERIVATIONS)
def test_draw_depends_on_the_generator_alone(name):
    sample = DERIVATIONS[name].sample
    numbers = sample(np.random.default_rng(5), 200)
    assert numbers.shape == (200, 3)
    assert numbers.dtype == np.float32
    np.testing.assert_array_equal(numbers, sample(np.random.default_rng(5), 200))
    assert (len(np.unique(numbers, axis=0)) > 1) == (name not in WITHOUT_CHANCE)


def test_draws_stay_in_their_limits():
    generator = np.random.default_rng(2)
    assert set(channels.sample_channel(generator, 100)[:, 0]) == {0, 1, 2}
    assert set(levels.sample_gamma(generator, 5000)[:, 0]) == set(range(levels.GAMMA_CURVES))
    assert set(levels.sample_palette(generator, 100)[:, 0]) == set(range(len(levels.PALETTES)))
    weights = channels.sample_weights(generator, 100)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    orders = {tuple(order) for order in channels.sample_order(generator, 200).astype(int).tolist()}
    assert orders == {(0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)}
    for sample, limits in (
        (channels.sample_spectrum, channels.SPECTRUM_LIMITS),
        (lambda *sampled: sharpness.sample_sharpness(*sampled)[:, 0], sharpness.SHARPNESS_LIMITS),
    ):
        sampled = sample(generator, 1000)
        assert limits[0] <= sampled.min() <= sampled.max() <= limits[1]
        assert np.ptp(sampled) > 0.95 * np.ptp(limits)


def test_gamma_tables_run_from_brightening_to_darkening():
    tables = levels.gamma_tables()
    assert tables.shape == (levels.GAMMA_CURVES, 256)
    assert np.all(tables[:, 0] == 0) and np.all(tables[:, 255] == 255)
    assert np.all(np.diff(tables.astype(int), axis=1) >= 0)
    assert tables[0, 100] == round(255 * (100 / 255) ** levels.GAMMA_LIMITS[0])
    assert tables[-1, 100] == round(255 * (100 / 255) ** levels.GAMMA_LIMITS[1])


def test_sharpness_blurs_and_sharpens():
    image = noise(1)[3]
    spread = [derive(image, "sharpness", np.array([amount, 0, 0])).astype(int).std() for amount in (-1, 0, 1.5)]
    assert spread[0] < spread[1] == image.std() < spread[2]
