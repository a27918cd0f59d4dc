"""Which images and which lists each folder layout of a generated data set has.

A plan is made before anything is rendered: every image with its path and all it depends on, and every file of ids,
splits and permutations. The layouts are those of SYSU-MM01 (Wu et al. 2017), RegDB (Nguyen et al. 2017), LLCM (Zhang
and Wang 2023) and the plain folder of this project.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import comb

import numpy as np

from pipeline.datasets.listing import SPLITS
from pipeline.synthetic.dataset_shapes import NO_SPLIT, SPLIT_STREAM, SYSU_CAMERAS, Shape
from pipeline.synthetic.rendering import ImageKey

PERMUTATION_STREAM = 8
TRIALS = 10

SYSU_PLACES = {1: 1, 2: 2, 3: 2, 4: 4, 5: 5, 6: 6}  # cameras 2 and 3 hang in the same room
REGDB_SIZE = (64, 128)


@dataclass(frozen=True)
class DatasetPlan:
    """The files of a data set; paths are relative to its root, with forward slashes."""

    images: list[tuple[str, ImageKey]]
    texts: dict[str, str] = field(default_factory=dict)
    matrices: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)  # MATLAB files: variable -> value


# ---------------------------------------------------------------- SYSU-MM01


def plan_sysu(shape: Shape, seed: int) -> DatasetPlan:
    """Plans SYSU-MM01; people of no split have folders and are in no list, as in the true data set."""
    images = []
    for identity, kind, camera, number in _in_order(shape):
        key = ImageKey(seed, identity, camera, number, kind, SYSU_PLACES[camera])
        images.append((f"cam{camera}/{identity:04d}/{number:04d}.jpg", key))
    lists = {split: [i for i, presence in shape.items() if presence.split == split] for split in SPLITS}
    lists["available"] = [i for i, presence in shape.items() if presence.split != NO_SPLIT]
    texts = {f"exp/{name}_id.txt": ",".join(map(str, ids)) + "\n" for name, ids in lists.items()}
    matrices = {f"exp/{name}_id.mat": {"id": np.array([ids], np.float64)} for name, ids in lists.items()}
    matrices["exp/rand_perm_cam.mat"] = {"rand_perm_cam": _permutations(shape, seed)}
    return DatasetPlan(images, texts, matrices)


def _in_order(shape: Shape) -> Iterator[tuple[int, str, int, int]]:
    """Yields (identity, kind, camera, number) of every image; numbers start at 1."""
    for identity, presence in shape.items():
        for (kind, camera), count in presence.images.items():
            for number in range(1, count + 1):
                yield identity, kind, camera, number


def _permutations(shape: Shape, seed: int) -> np.ndarray:
    """Returns a (6, 1) cell of (max identity, 1) cells of (10, n) 1-based permutations; n is 0 for absent people."""
    outer = np.empty((len(SYSU_CAMERAS), 1), object)
    for camera, kind in SYSU_CAMERAS.items():
        inner = np.empty((max(shape), 1), object)
        for identity in range(1, max(shape) + 1):
            count = shape[identity].images.get((kind, camera), 0) if identity in shape else 0
            rng = np.random.default_rng([seed, PERMUTATION_STREAM, identity, camera])
            rows = np.tile(np.arange(1, count + 1, dtype=np.uint16), (TRIALS, 1))
            inner[identity - 1, 0] = rng.permuted(rows, axis=1)
        outer[camera - 1, 0] = inner
    return outer


# ---------------------------------------------------------------- RegDB


def plan_regdb(shape: Shape, seed: int) -> DatasetPlan:
    """Plans RegDB, whose people are numbered 1 .. their number."""
    images = []
    lines: dict[tuple[str, int], list[str]] = {}
    for identity, kind, camera, number in _in_order(shape):
        path = f"{kind.capitalize()}/{identity}/{kind}_{identity:04d}_{number:02d}.bmp"
        images.append((path, ImageKey(seed, identity, camera, number, kind, 1, REGDB_SIZE)))
        lines.setdefault((kind, identity), []).append(path)
    texts = {}
    for trial, train in enumerate(_halves(len(shape), seed), start=1):
        test = [identity for identity in shape if identity not in train]
        for split, ids in (("train", train), ("test", test)):
            for kind in ("visible", "thermal"):
                rows = [(path, label) for label, one in enumerate(ids) for path in lines[kind, one]]
                texts[f"idx/{split}_{kind}_{trial}.txt"] = _list_file(rows)
    return DatasetPlan(images, texts)


def _halves(identities: int, seed: int) -> list[list[int]]:
    """Returns ten sorted halves of 1 .. identities, all different where there are as many."""
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


def plan_llcm(shape: Shape, seed: int) -> DatasetPlan:
    train = [identity for identity, presence in shape.items() if presence.split == "train"]
    labels = {identity: label for label, identity in enumerate(train)}
    images = []
    rows: dict[str, list[tuple[str, int]]] = {"vis": [], "nir": []}
    for identity, kind, camera, number in _in_order(shape):
        short = "vis" if kind == "visible" else "nir"
        name = f"{identity:04d}_c{camera:02d}_s{number:06d}_f{10 * number:05d}_{short}.jpg"
        folder = short if identity in labels else f"test_{short}/cam{camera}"
        path = f"{folder}/{identity:04d}/{name}"
        images.append((path, ImageKey(seed, identity, camera, number, kind, camera)))
        if identity in labels:
            rows[short].append((path, labels[identity]))
    texts = {f"idx/train_{short}.txt": _list_file(listed) for short, listed in rows.items()}
    test = [identity for identity in shape if identity not in labels]
    texts["idx/test_id.txt"] = ",".join(map(str, test)) + "\n"
    return DatasetPlan(images, texts)


# ---------------------------------------------------------------- folder


def plan_folder(shape: Shape, seed: int) -> DatasetPlan:
    return DatasetPlan(
        [
            (
                f"{kind}/{identity:04d}/c{camera}_{number:03d}.jpg",
                ImageKey(seed, identity, camera, number, kind, camera),
            )
            for identity, kind, camera, number in _in_order(shape)
        ]
    )


LAYOUTS = {"sysu": plan_sysu, "regdb": plan_regdb, "llcm": plan_llcm, "folder": plan_folder}
