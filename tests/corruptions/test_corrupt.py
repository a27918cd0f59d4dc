"""What all kinds of corruption have in common."""

import inspect

import numpy as np
import pytest

from pipeline.corruptions import corrupt as module
from pipeline.corruptions.corrupt import CORRUPTIONS, LEVELS, RANDOM, corrupt, generator
from tests.corruptions.pictures import picture

WITHOUT_CHANCE = {
    *("defocus_blur", "zoom_blur", "gaussian_blur", "brightness"),
    *("contrast", "pixelate", "jpeg_compression", "saturate"),
}
IMAGE = picture()


def distance(image, kind, level, names=range(8)):
    return np.mean([np.abs(corrupt(image, kind, level, 0, name).astype(float) - image).mean() for name in names])


def test_there_are_twenty_kinds():
    assert len(CORRUPTIONS) == 20 and [*LEVELS] == [1, 2, 3, 4, 5]
    assert all([*inspect.signature(kind).parameters] == ["image", "level", "random"] for kind in CORRUPTIONS.values())


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_an_image_stays_an_image_and_gets_worse_with_the_level(kind, channels):
    image = picture(64, 32)[..., :channels]
    before = image.copy()
    corrupted = corrupt(image, kind, 3, 0, "a")
    assert corrupted.dtype == np.uint8 and corrupted.shape == image.shape
    np.testing.assert_array_equal(image, before)
    if kind == "saturate" and channels == 1:
        np.testing.assert_array_equal(corrupted, image, "gray has no saturation")
    else:
        assert distance(image, kind, 5) > 1.2 * distance(image, kind, 1) > 0


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_all_that_is_drawn_depends_on_seed_and_name(kind):
    first = corrupt(IMAGE, kind, 4, 7, "cam1/a.jpg")
    np.testing.assert_array_equal(first, corrupt(IMAGE.copy(), kind, 4, 7, "cam1/a.jpg"))
    others = [corrupt(IMAGE, kind, 4, seed, name) for seed, name in ((8, "cam1/a.jpg"), (7, "cam1/b.jpg"))]
    assert [np.array_equal(first, other) for other in others] == [kind in WITHOUT_CHANCE] * 2


def test_numbers_are_drawn_alike_everywhere():
    """As on the machine where this test was written: results of years and of clusters stay comparable."""
    assert generator("fog", None, 3, "cam1/a.jpg").integers(1000, size=4).tolist() == [916, 354, 249, 648]


def test_kinds_and_levels_are_drawn_for_each_image_all_as_likely(monkeypatch):
    seen = []

    def spy(kind):
        return lambda image, level, random: seen.append((kind, level)) or image

    monkeypatch.setattr(module, "CORRUPTIONS", {kind: spy(kind) for kind in CORRUPTIONS})
    for name in range(4000):
        corrupt(IMAGE[:1, :1], RANDOM, None, 0, str(name))
    counts = np.array([[seen.count((kind, level)) for level in LEVELS] for kind in CORRUPTIONS])
    assert counts.min() > 15 and (abs(counts.sum(0) - 800) < 100).all() and (abs(counts.sum(1) - 200) < 60).all()
    seen.clear()
    for name in range(200):
        corrupt(IMAGE[:1, :1], RANDOM, 2, 0, str(name))
    assert {level for _, level in seen} == {2} and len({kind for kind, _ in seen}) > 15
    seen.clear()
    for name in range(100):
        corrupt(IMAGE[:1, :1], "fog", None, 0, str(name))
    assert {kind for kind, _ in seen} == {"fog"} and {level for _, level in seen} == {*LEVELS}


def test_what_a_kind_leaves_alone_keeps_its_level():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    np.testing.assert_array_equal(corrupt(levels, "saturate", 3, 0, ""), levels)
    unhit = corrupt(levels, "impulse_noise", 1, 0, "")
    assert set(np.unique(unhit[unhit != levels])) <= {0, 255} and (unhit == levels).mean() > 0.9


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 3, 1), (2, 9, 3)])
def test_the_smallest_images_can_be_corrupted(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    for kind in CORRUPTIONS:
        for level in LEVELS:
            assert corrupt(image, kind, level, 0, "").shape == shape


@pytest.mark.parametrize("level", [0, 255])
def test_an_image_of_one_color_is_no_problem(level):
    image = np.full((24, 12, 3), level, np.uint8)
    with np.errstate(all="raise", under="ignore"):
        for kind in CORRUPTIONS:
            corrupt(image, kind, 5, 0, "")
