"""Shapes of generated data sets: the split of every person, and how many images each camera takes of them.

Three kinds: uniform (any number of people), the published numbers or a share of their people, and a file with that
of every person of SYSU-MM01. `dataset_layouts.py` makes paths and lists of a shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.datasets import DATASETS, llcm, regdb, sysu

PRESENCE_STREAM = 6
SPLIT_STREAM = 7

SYSU_CAMERAS = {1: "visible", 2: "visible", 3: "infrared", 4: "visible", 5: "visible", 6: "infrared"}
LLCM_VISIBLE = (1, 2, 3, 4, 5, 6, 7, 8, 9)
LLCM_INFRARED = (1, 2, 4, 5, 6, 7, 8, 9)
REGDB_CAMERAS = {1: "visible", 2: "thermal"}
FOLDER_CAMERAS = {1: "visible", 2: "visible", 3: "infrared", 4: "infrared"}
NO_SPLIT = "none"


@dataclass(frozen=True)
class Presence:
    """One person's split and images in a data set."""

    split: str  # train, val, test or none
    images: dict[tuple[str, int], int]  # (kind of image, camera) -> number of images


IDENTITIES = {name: dataset.published.identities for name, dataset in DATASETS.items()}
Shape = dict[int, Presence]  # identity -> presence


# ---------------------------------------------------------------- uniform


def uniform_sysu(identities: int, images: int, seed: int) -> Shape:
    cameras = {identity: sysu_cameras_of(seed, identity) for identity in range(1, identities + 1)}
    split_of = _sysu_splits(cameras, seed)
    return {
        identity: Presence(split_of[identity], {(SYSU_CAMERAS[camera], camera): images for camera in seen})
        for identity, seen in cameras.items()
    }


def sysu_cameras_of(seed: int, identity: int) -> tuple[int, ...]:
    """Returns the cameras that a person passed: mostly all six; every person meets both modalities."""
    rng = np.random.default_rng([seed, PRESENCE_STREAM, identity])
    chance = rng.random()
    if identity % 4 == 1 or chance < 0.6:
        return (1, 2, 3, 4, 5, 6)
    if chance < 0.75:
        return (3, 4, 5, 6)
    if chance < 0.85:
        return (3, 4, 5)
    missing = int(rng.choice((1, 2, 4, 5, 6)))
    return tuple(camera for camera in SYSU_CAMERAS if camera != missing)


def _sysu_splits(cameras: dict[int, tuple[int, ...]], seed: int) -> dict[int, str]:
    """Splits about 60 / 20 / 20 per cent; a person of all six cameras is tested, so that no search is empty."""
    shuffled = [int(i) for i in np.random.default_rng([seed, SPLIT_STREAM]).permutation(list(cameras))]
    anchor = next(identity for identity in shuffled if len(cameras[identity]) == len(SYSU_CAMERAS))
    shuffled.remove(anchor)
    shuffled.insert(0, anchor)
    fifth = max(1, round(0.2 * len(shuffled)))
    places = ["test"] * fifth + ["val"] * fifth + ["train"] * (len(shuffled) - 2 * fifth)
    return dict(zip(shuffled, places, strict=True))


def uniform_regdb(identities: int, images: int, seed: int) -> Shape:
    """Returns people in no split: RegDB has ten, by lists of its own."""
    seen = {(kind, camera): images for camera, kind in REGDB_CAMERAS.items()}
    return {identity: Presence(NO_SPLIT, seen) for identity in range(1, identities + 1)}


def uniform_llcm(identities: int, images: int, seed: int) -> Shape:
    split_of = _llcm_splits(identities, round(identities * 2 / 3), seed)
    return {
        identity: Presence(split_of[identity], dict.fromkeys(llcm_views_of(seed, identity), images))
        for identity in range(1, identities + 1)
    }


def llcm_views_of(seed: int, identity: int) -> list[tuple[str, int]]:
    """Returns (kind, camera) of 3 to 5 visible and 3 to 5 infrared views: every query has a match elsewhere."""
    rng = np.random.default_rng([seed, PRESENCE_STREAM, identity])
    return [
        (kind, camera)
        for kind, cameras in (("visible", LLCM_VISIBLE), ("infrared", LLCM_INFRARED))
        for camera in sorted(int(camera) for camera in rng.permutation(cameras)[: int(rng.integers(3, 6))])
    ]


def _llcm_splits(identities: int, train: int, seed: int) -> dict[int, str]:
    shuffled = np.random.default_rng([seed, SPLIT_STREAM]).permutation(identities) + 1
    return {int(identity): "train" if place < train else "test" for place, identity in enumerate(shuffled)}


def uniform_folder(identities: int, images: int, seed: int) -> Shape:
    """Returns people in no split: a folder is divided when it is read."""
    seen = {(kind, camera): images for camera, kind in FOLDER_CAMERAS.items()}
    return {identity: Presence(NO_SPLIT, seen) for identity in range(1, identities + 1)}


UNIFORM = {"sysu": uniform_sysu, "regdb": uniform_regdb, "llcm": uniform_llcm, "folder": uniform_folder}


# ---------------------------------------------------------------- published

# How many people of the official split of SYSU-MM01 have images by which cameras.
SYSU_GROUPS = {
    "train": {
        (1, 2, 3, 4, 5, 6): 180,
        (3, 4, 5): 92,
        (1, 2, 3, 5, 6): 11,
        (3, 4, 5, 6): 5,
        (1, 2, 4, 5, 6): 3,
        (3, 4): 2,
        (3, 5): 2,
        (2, 3, 4, 5, 6): 1,
    },
    "val": {(3, 4, 5): 96, (3, 4): 3},
    "test": {
        (1, 2, 3, 4, 5, 6): 53,
        (3, 4, 5, 6): 37,
        (1, 2, 4, 5, 6): 2,
        (1, 2, 3, 5, 6): 1,
        (3, 4, 6): 1,
        (3, 5, 6): 1,
        (4, 5, 6): 1,
    },
}
FEWEST = {"sysu": 2, "regdb": 4, "llcm": 2}  # people of a split, or in RegDB's case of all


def scaled(layout: str, scale: float, seed: int) -> Shape:
    """Returns the share `scale` (0 .. 1] of the published people of each split, each with all their images.

    A larger one contains the smaller ones. Raises ValueError for a layout without published numbers and a scale out of
    range.
    """
    if layout not in PUBLISHED:
        raise ValueError(f"scale: expected one of the layouts {', '.join(PUBLISHED)}; found {layout}")
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale <= 1:
        raise ValueError(f"scale: expected a number above 0 and at most 1; found {scale!r}")
    whole = PUBLISHED[layout](seed)
    kept: Shape = {}
    for split in {presence.split: None for presence in whole.values()}:
        identities = [identity for identity, presence in whole.items() if presence.split == split]
        count = max(FEWEST[layout], round(scale * len(identities)))
        kept |= {identity: whole[identity] for identity in identities[:count]}
    return dict(sorted(kept.items()))


def published_sysu(seed: int) -> Shape:
    """Mixes people of all groups of cameras in every split, so that its first ones stand for all of them."""
    numbers = np.random.default_rng([seed, SPLIT_STREAM]).permutation(sum(IDENTITIES["sysu"].values())) + 1
    free = iter(numbers)
    shape: Shape = {}
    for split, groups in SYSU_GROUPS.items():
        cameras_of = {int(next(free)): cameras for cameras in _mixed(groups)}
        shape |= {identity: Presence(split, {}) for identity in cameras_of}
        for camera, total in enumerate(sysu.IMAGES[split], 1):
            seen = [identity for identity, cameras in cameras_of.items() if camera in cameras]
            for identity, count in zip(seen, _spread(total, len(seen)), strict=True):
                shape[identity].images[SYSU_CAMERAS[camera], camera] = count
    return shape


def _mixed(groups: dict[tuple[int, ...], int]) -> list[tuple[int, ...]]:
    """Returns every key as often as its value says, each evenly among the others."""
    places = [((number + 0.5) / size, cameras) for cameras, size in groups.items() for number in range(size)]
    return [cameras for _, cameras in sorted(places)]


def published_regdb(seed: int) -> Shape:
    identities = sum(IDENTITIES["regdb"].values())
    return uniform_regdb(identities, regdb.IMAGES // IDENTITIES["regdb"]["test"], seed)


def published_llcm(seed: int) -> Shape:
    """Shares the images evenly among people and cameras: how the true ones are shared isn't published."""
    identities = IDENTITIES["llcm"]
    split_of = _llcm_splits(sum(identities.values()), identities["train"], seed)
    views = [(identity, view) for identity in split_of for view in llcm_views_of(seed, identity)]
    shape = {identity: Presence(split, {}) for identity, split in split_of.items()}
    for (identity, view), count in zip(views, _spread(llcm.IMAGES, len(views)), strict=True):
        shape[identity].images[view] = count
    return shape


def _spread(total: int, places: int) -> list[int]:
    """Returns whole numbers as equal as can be with the sum `total`; the larger ones first."""
    return [total // places + (place < total % places) for place in range(places)]


PUBLISHED = {"sysu": published_sysu, "regdb": published_regdb, "llcm": published_llcm}
