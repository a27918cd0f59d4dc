"""Which pictures and which lists each folder layout of a generated data set has.

A plan is made before anything is drawn: every picture with its path and all it depends on, and every file of ids,
splits and permutations. The layouts are those of SYSU-MM01 (Wu et al. 2017), RegDB (Nguyen et al. 2017), LLCM (Zhang
and Wang 2023) and the plain folder of this project.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import comb

import numpy as np

from pipeline.datasets.drawing import PictureKey

PRESENCE_STREAM = 6
SPLIT_STREAM = 7
PERMUTATION_STREAM = 8
TRIALS = 10

SYSU_CAMERAS = {1: "visible", 2: "visible", 3: "infrared", 4: "visible", 5: "visible", 6: "infrared"}
SYSU_PLACES = {1: 1, 2: 2, 3: 2, 4: 4, 5: 5, 6: 6}  # cameras 2 and 3 hang in the same room
LLCM_VISIBLE = (1, 2, 3, 4, 5, 6, 7, 8, 9)
LLCM_INFRARED = (1, 2, 4, 5, 6, 7, 8, 9)
FOLDER_CAMERAS = {1: "visible", 2: "visible", 3: "infrared", 4: "infrared"}
REGDB_SIZE = (64, 128)


@dataclass(frozen=True)
class Plan:
    """What a data set consists of; paths are relative to its root, with forward slashes."""

    pictures: list[tuple[str, PictureKey]]
    texts: dict[str, str] = field(default_factory=dict)
    matrices: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)  # MATLAB files: variable -> value


# ---------------------------------------------------------------- SYSU-MM01


def sysu_cameras_of(seed: int, identity: int) -> tuple[int, ...]:
    """The cameras that a person passed: mostly all six; every person meets both modalities."""
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


def plan_sysu(identities: int, images: int, seed: int) -> Plan:
    cameras = {identity: sysu_cameras_of(seed, identity) for identity in range(1, identities + 1)}
    pictures = []
    for identity, seen in cameras.items():
        for camera in seen:
            for number in range(1, images + 1):
                key = PictureKey(seed, identity, camera, number, SYSU_CAMERAS[camera], SYSU_PLACES[camera])
                pictures.append((f"cam{camera}/{identity:04d}/{number:04d}.jpg", key))
    splits = {**_sysu_splits(cameras, seed), "available": list(cameras)}
    texts = {f"exp/{name}_id.txt": ",".join(map(str, ids)) + "\n" for name, ids in splits.items()}
    matrices = {f"exp/{name}_id.mat": {"id": np.array([ids], np.float64)} for name, ids in splits.items()}
    matrices["exp/rand_perm_cam.mat"] = {"rand_perm_cam": _permutations(cameras, images, seed)}
    return Plan(pictures, texts, matrices)


def _sysu_splits(cameras: dict[int, tuple[int, ...]], seed: int) -> dict[str, list[int]]:
    """About 60 / 20 / 20 per cent; a person of all six cameras is in the test set, so that no search is empty."""
    shuffled = [int(i) for i in np.random.default_rng([seed, SPLIT_STREAM]).permutation(list(cameras))]
    anchor = next(identity for identity in shuffled if len(cameras[identity]) == len(SYSU_CAMERAS))
    shuffled.remove(anchor)
    shuffled.insert(0, anchor)
    fifth = max(1, round(0.2 * len(shuffled)))
    cuts = {"test": shuffled[:fifth], "val": shuffled[fifth : 2 * fifth], "train": shuffled[2 * fifth :]}
    return {name: sorted(ids) for name, ids in cuts.items()}


def _permutations(cameras: dict[int, tuple[int, ...]], images: int, seed: int) -> np.ndarray:
    """(6, 1) cell of (identities, 1) cells of (10, n) 1-based permutations, (10, 0) where a person is absent."""
    outer = np.empty((len(SYSU_CAMERAS), 1), object)
    for camera in SYSU_CAMERAS:
        inner = np.empty((len(cameras), 1), object)
        for identity, seen in cameras.items():
            count = images if camera in seen else 0
            rng = np.random.default_rng([seed, PERMUTATION_STREAM, identity, camera])
            rows = np.tile(np.arange(1, count + 1, dtype=np.uint16), (TRIALS, 1))
            inner[identity - 1, 0] = rng.permuted(rows, axis=1)
        outer[camera - 1, 0] = inner
    return outer


# ---------------------------------------------------------------- RegDB


def plan_regdb(identities: int, images: int, seed: int) -> Plan:
    pictures, lines = [], {}
    for identity in range(1, identities + 1):
        for camera, kind in ((1, "visible"), (2, "thermal")):
            for number in range(1, images + 1):
                path = f"{kind.capitalize()}/{identity}/{kind}_{identity:04d}_{number:02d}.bmp"
                pictures.append((path, PictureKey(seed, identity, camera, number, kind, 1, REGDB_SIZE)))
                lines.setdefault((kind, identity), []).append(path)
    texts = {}
    for trial, train in enumerate(_halves(identities, seed), start=1):
        test = [identity for identity in range(1, identities + 1) if identity not in train]
        for split, ids in (("train", train), ("test", test)):
            for kind in ("visible", "thermal"):
                rows = [(path, label) for label, one in enumerate(ids) for path in lines[kind, one]]
                texts[f"idx/{split}_{kind}_{trial}.txt"] = _list_file(rows)
    return Plan(pictures, texts)


def _halves(identities: int, seed: int) -> list[list[int]]:
    """Ten sorted halves of 1 .. identities, all different where there are as many."""
    rng = np.random.default_rng([seed, SPLIT_STREAM])
    size = identities // 2
    chosen: list[list[int]] = []
    while len(chosen) < TRIALS:
        half = sorted(int(i) + 1 for i in rng.permutation(identities)[:size])
        if half not in chosen or len(chosen) >= comb(identities, size):
            chosen.append(half)
    return chosen


def _list_file(rows: list[tuple[str, int]]) -> str:
    return "".join(f"{path} {label}\n" for path, label in rows)


# ---------------------------------------------------------------- LLCM


def llcm_cameras_of(seed: int, identity: int) -> dict[str, tuple[int, ...]]:
    """Three to five visible and three to five infrared cameras, so that every query has a match elsewhere."""
    rng = np.random.default_rng([seed, PRESENCE_STREAM, identity])
    return {
        kind: tuple(sorted(int(camera) for camera in rng.permutation(cameras)[: int(rng.integers(3, 6))]))
        for kind, cameras in (("visible", LLCM_VISIBLE), ("infrared", LLCM_INFRARED))
    }


def plan_llcm(identities: int, images: int, seed: int) -> Plan:
    shuffled = np.random.default_rng([seed, SPLIT_STREAM]).permutation(identities) + 1
    train = sorted(int(i) for i in shuffled[: round(identities * 2 / 3)])
    test = sorted(set(range(1, identities + 1)) - set(train))
    labels = {identity: label for label, identity in enumerate(train)}
    pictures, rows = [], {"vis": [], "nir": []}
    for identity in range(1, identities + 1):
        for kind, seen in llcm_cameras_of(seed, identity).items():
            short = "vis" if kind == "visible" else "nir"
            for camera in seen:
                for number in range(1, images + 1):
                    name = f"{identity:04d}_c{camera:02d}_s{number:06d}_f{10 * number:05d}_{short}.jpg"
                    folder = short if identity in labels else f"test_{short}/cam{camera}"
                    path = f"{folder}/{identity:04d}/{name}"
                    pictures.append((path, PictureKey(seed, identity, camera, number, kind, camera)))
                    if identity in labels:
                        rows[short].append((path, labels[identity]))
    texts = {f"idx/train_{short}.txt": _list_file(listed) for short, listed in rows.items()}
    texts["idx/test_id.txt"] = ",".join(map(str, test)) + "\n"
    return Plan(pictures, texts)


# ---------------------------------------------------------------- folder


def plan_folder(identities: int, images: int, seed: int) -> Plan:
    pictures = []
    for identity in range(1, identities + 1):
        for camera, kind in FOLDER_CAMERAS.items():
            for number in range(1, images + 1):
                path = f"{kind}/{identity:04d}/c{camera}_{number:03d}.jpg"
                pictures.append((path, PictureKey(seed, identity, camera, number, kind, camera)))
    return Plan(pictures)


LAYOUTS = {"sysu": plan_sysu, "regdb": plan_regdb, "llcm": plan_llcm, "folder": plan_folder}
USUAL_IMAGES = {"sysu": 6, "regdb": 10, "llcm": 4, "folder": 5}  # pictures of a person by one camera
