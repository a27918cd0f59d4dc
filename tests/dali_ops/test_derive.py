from __future__ import annotations

import numpy as np
import pytest
from nvidia.dali import fn, types

from dali_ops import derive, reference
from dali_ops.decode import CHANNELS
from dali_ops.derive import DERIVATIONS, get_derivation
from dali_ops.execution import new_pipeline

PAIRS = [(name, family) for name, derivation in DERIVATIONS.items() for family in derivation.families]
COUNT = 16


def run_graph(name: str, images: np.ndarray, numbers: np.ndarray, place: dict) -> np.ndarray:
    pipeline = new_pipeline(batch_size=len(images), threads=1, prefetch=1, **place)
    with pipeline:
        image = fn.external_source(lambda: images, dtype=types.UINT8, layout="HWC")
        parameters = fn.external_source(lambda: numbers, dtype=types.FLOAT, ndim=1)
        image = image.gpu() if place["device"] == "gpu" else image
        pipeline.set_outputs(DERIVATIONS[name].graph(image, parameters))
    (derived,) = pipeline.run()
    return np.asarray(derived.as_cpu().as_tensor())


def noise(family: str) -> np.ndarray:
    """All levels in the first, two levels in the second, one level in the third picture; random otherwise."""
    images = np.random.default_rng(0).integers(0, 256, (COUNT, 32, 24, CHANNELS[family]), dtype=np.uint8)
    images[0] = np.arange(32 * 24 * CHANNELS[family]).reshape(images[0].shape) % 256
    images[1] = np.where(images[1] < 128, 40, 200)
    images[2] = 77
    return images


@pytest.mark.parametrize(("name", "family"), PAIRS)
def test_graph_equals_twin(name, family, place, assert_same_levels):
    images = noise(family)
    numbers = DERIVATIONS[name].draw(np.random.default_rng(1), COUNT)
    derived = run_graph(name, images, numbers, place)
    expected = np.stack([reference.derive(*pair) for pair in zip(images, [name] * COUNT, numbers, strict=True)])
    assert derived.dtype == np.uint8
    assert derived.shape == expected.shape
    assert derived.shape[3] == (DERIVATIONS[name].channels or CHANNELS[family])
    assert_same_levels(np.abs(derived.astype(int) - expected), name)


@pytest.mark.parametrize(("name", "family"), [pair for pair in PAIRS if pair[0] != "identity"])
def test_derivation_changes_the_image(name, family):
    images = noise(family)[3:]
    numbers = DERIVATIONS[name].draw(np.random.default_rng(1), len(images))
    derived = np.stack([reference.derive(*pair) for pair in zip(images, [name] * COUNT, numbers, strict=False)])
    assert np.any(np.broadcast_to(derived, (*derived.shape[:3], 3)) != images)


@pytest.mark.parametrize("name", DERIVATIONS)
def test_draw_depends_on_the_generator_alone(name):
    draw = DERIVATIONS[name].draw
    numbers = draw(np.random.default_rng(5), 200)
    assert numbers.shape == (200, 3)
    assert numbers.dtype == np.float32
    np.testing.assert_array_equal(numbers, draw(np.random.default_rng(5), 200))
    varies = name in ("random_channel", "weighted_grey", "gamma_grey", "gamma", "spectrum")
    assert (len(np.unique(numbers, axis=0)) > 1) == varies


def test_draws_stay_in_their_limits():
    generator = np.random.default_rng(2)
    assert set(derive.draw_channel(generator, 100)[:, 0]) == {0, 1, 2}
    curves = derive.draw_gamma(generator, 5000)[:, 0]
    assert set(curves) == set(range(derive.GAMMA_CURVES))
    weights = derive.draw_weights(generator, 100)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    gains = derive.draw_spectrum(generator, 100)
    assert derive.SPECTRUM_LIMITS[0] <= gains.min() <= gains.max() <= derive.SPECTRUM_LIMITS[1]


def test_gamma_tables_run_from_brightening_to_darkening():
    tables = derive.gamma_tables()
    assert tables.shape == (derive.GAMMA_CURVES, 256)
    assert np.all(tables[:, 0] == 0) and np.all(tables[:, 255] == 255)
    assert np.all(np.diff(tables.astype(int), axis=1) >= 0)
    assert tables[0, 100] == round(255 * (100 / 255) ** derive.GAMMA_LIMITS[0])
    assert tables[-1, 100] == round(255 * (100 / 255) ** derive.GAMMA_LIMITS[1])


@pytest.mark.parametrize(("name", "family"), [("gray", "visible"), ("spectrum", "visible"), ("grey", "infrared")])
def test_unsuitable_derivation_is_refused(name, family):
    with pytest.raises(ValueError, match=rf"derivation of {family}: expected one of identity, .*; found '{name}'"):
        get_derivation(name, family)
