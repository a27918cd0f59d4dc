"""What a rendered image depends on and what it shows."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from pipeline.synthetic.identities import make_appearance
from pipeline.synthetic.rendering import ImageKey, render_image


def gray_feature(key: ImageKey) -> np.ndarray:
    values = np.asarray(render_image(key).convert("L").resize((32, 64)), np.float64).ravel()
    values -= values.mean()
    return values / np.linalg.norm(values)


def rank_1(queries: dict, gallery: dict) -> float:
    """Share of the queries whose nearest image shows the same person; both: key -> (identity, feature)."""
    right = 0
    for identity, feature in queries.values():
        nearest = max(gallery.values(), key=lambda other: float(feature @ other[1]))
        right += nearest[0] == identity
    return right / len(queries)


@pytest.mark.parametrize("change", ["seed", "identity", "camera", "number", "kind"])
def test_a_image_depends_on_every_part_of_its_key(change: str) -> None:
    key = ImageKey(seed=1, identity=2, camera=1, number=1, kind="visible", place=1, size=(64, 160))
    other = {"seed": 2, "identity": 3, "camera": 2, "number": 2, "kind": "infrared"}[change]
    changed = ImageKey(**{**vars(key), change: other})
    again = render_image(key)
    assert np.array_equal(np.asarray(render_image(key)), np.asarray(again))
    assert not np.array_equal(np.asarray(render_image(changed)), np.asarray(again))


@pytest.mark.parametrize("kind", ["visible", "infrared", "thermal"])
def test_images_are_rgb_and_only_visible_ones_have_color(kind: str) -> None:
    image = render_image(ImageKey(0, 5, 1, 1, kind, 1))
    assert image.mode == "RGB"
    assert 60 <= image.width <= 90 and 150 <= image.height <= 205
    red, green, blue = np.moveaxis(np.asarray(image, np.int64), 2, 0)
    gray = np.array_equal(red, green) and np.array_equal(green, blue)
    assert gray == (kind != "visible")


def test_every_pose_of_many_people_can_be_rendered() -> None:
    """All kinds of clothes, hair and bags occur among so many, seen from all sides."""
    looks = [make_appearance(0, identity) for identity in range(1, 121)]
    bags = {"none", "backpack", "crossbody", "handbag", "tote", "suitcase"}
    assert {look.carried.bag for look in looks} >= bags
    assert len({look.top.kind for look in looks}) == 7 and len({look.bottom.kind for look in looks}) == 7
    for identity in range(1, 121):
        pixels = np.asarray(render_image(ImageKey(0, identity, 1, identity, "visible", 1)), np.float64)
        assert pixels.std() > 5


def test_infrared_brightness_follows_lightness_but_is_no_function_of_the_color() -> None:
    materials = [material for identity in range(1, 301) for material in make_appearance(0, identity).materials.values()]
    infrared = np.array([material.infrared for material in materials])
    lightness = np.array([material.visible for material in materials]) @ (0.299, 0.587, 0.114)
    assert 0.3 < np.corrcoef(lightness, infrared)[0, 1] < 0.6
    channels = np.array([(*material.visible, 1) for material in materials])
    channels = np.concatenate([channels, channels**2, channels[:, :3] * channels[:, (1, 2, 0)]], axis=1)
    formula, *_ = np.linalg.lstsq(channels, infrared, rcond=None)
    assert (infrared - channels @ formula).std() > 0.8 * infrared.std()


def test_gray_comparison_fails_across_modalities_and_works_within_one() -> None:
    features = defaultdict(dict)
    for identity in range(1, 21):
        for camera, kind in ((1, "visible"), (4, "visible"), (3, "infrared")):
            for number in (1, 2, 3):
                feature = gray_feature(ImageKey(0, identity, camera, number, kind, camera))
                features[camera][identity, number] = (identity, feature)
    across = rank_1(features[3], {**features[1], **{(4, *key): value for key, value in features[4].items()}})
    within = rank_1(features[1], features[4])
    assert across < 0.2  # chance: 0.05
    assert within > 0.2
    assert within > 2 * across
