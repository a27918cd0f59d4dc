"""The folder layouts of generated data sets, file by file."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat

from pipeline.datasets.marker import MARKER
from pipeline.synthetic import generation
from pipeline.synthetic.dataset_layouts import LAYOUTS, DatasetPlan
from pipeline.synthetic.dataset_shapes import UNIFORM, llcm_views_of, sysu_cameras_of

VISIBLE_CAMERAS, INFRARED_CAMERAS = {1, 2, 4, 5}, {3, 6}


def uniform_plan(layout: str, identities: int, images: int, seed: int) -> DatasetPlan:
    return LAYOUTS[layout](UNIFORM[layout](identities, images, seed), seed)


def ids_in(path: Path) -> list[int]:
    lines = path.read_text().splitlines()
    assert len(lines) == 1
    return [int(text) for text in lines[0].split(",")]


def rows_in(path: Path) -> list[tuple[str, int]]:
    return [(line.split(" ")[0], int(line.split(" ")[1])) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def sysu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sysu") / "set"
    generation.generate("sysu", root, 10, 2, seed=3, workers=1)
    return root


# ---------------------------------------------------------------- images


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_a_plan_names_each_image_once_and_keeps_keys_whatever_the_number_of_people(layout: str) -> None:
    small, large = uniform_plan(layout, 8, 2, 1), uniform_plan(layout, 30, 3, 1)
    for plan in (small, large):
        assert len({path for path, _ in plan.images}) == len({key for _, key in plan.images}) == len(plan.images)
    assert {key for _, key in small.images} <= {key for _, key in large.images}


# ---------------------------------------------------------------- SYSU-MM01


def test_sysu_has_the_images_of_every_person_and_camera(sysu: Path) -> None:
    for identity in range(1, 11):
        for camera in range(1, 7):
            folder = sysu / f"cam{camera}" / f"{identity:04d}"
            if camera not in sysu_cameras_of(3, identity):
                assert not folder.exists()
                continue
            assert sorted(path.name for path in folder.iterdir()) == ["0001.jpg", "0002.jpg"]
            with Image.open(folder / "0001.jpg") as image:
                assert image.format == "JPEG" and image.mode == "RGB"
                chroma = np.asarray(image, np.int64)
            assert (np.ptp(chroma, axis=2).mean() < 2) == (camera in INFRARED_CAMERAS)


def test_sysu_splits_are_disjoint_and_complete_in_text_and_matlab_files(sysu: Path) -> None:
    splits = {name: ids_in(sysu / "exp" / f"{name}_id.txt") for name in ("train", "val", "test", "available")}
    assert [len(splits[name]) for name in ("train", "val", "test")] == [6, 2, 2]
    assert sorted(splits["train"] + splits["val"] + splits["test"]) == splits["available"] == list(range(1, 11))
    for name, ids in splits.items():
        stored = loadmat(sysu / "exp" / f"{name}_id.mat")["id"]
        assert stored.shape == (1, len(ids)) and stored[0].tolist() == ids


def test_sysu_permutations_have_the_published_files_form(sysu: Path) -> None:
    cells = loadmat(sysu / "exp" / "rand_perm_cam.mat")["rand_perm_cam"]
    assert cells.shape == (6, 1)
    for camera in range(1, 7):
        inner = cells[camera - 1, 0]
        assert inner.shape == (10, 1)
        for identity in range(1, 11):
            rows = inner[identity - 1, 0]
            count = 2 if camera in sysu_cameras_of(3, identity) else 0
            assert rows.shape == (10, count)
            assert all(sorted(row.tolist()) == list(range(1, count + 1)) for row in rows)


def test_sysu_permutations_differ_between_trials_and_cameras() -> None:
    cells = uniform_plan("sysu", 4, 12, 0).matrices["exp/rand_perm_cam.mat"]["rand_perm_cam"]
    first = cells[0, 0][0, 0]  # person 1 is in all cameras
    assert len({tuple(row) for row in first.tolist()}) == 10
    assert not np.array_equal(first, cells[1, 0][0, 0])


def test_sysu_everybody_is_in_both_modalities_some_lack_cameras_and_no_search_is_empty() -> None:
    seen = {identity: set(sysu_cameras_of(0, identity)) for identity in range(1, 201)}
    assert all(cameras & VISIBLE_CAMERAS and cameras & INFRARED_CAMERAS for cameras in seen.values())
    assert 10 < sum(len(cameras) < 6 for cameras in seen.values()) < 100
    for seed in range(20):
        test_ids = uniform_plan("sysu", 4, 1, seed).texts["exp/test_id.txt"]
        assert any(len(sysu_cameras_of(seed, int(text))) == 6 for text in test_ids.split(","))


def test_sysu_cameras_2_and_3_share_their_place_and_no_others_do() -> None:
    places = {key.camera: key.place for _, key in uniform_plan("sysu", 5, 1, 0).images}
    shared = [pair for pair in combinations(sorted(places), 2) if places[pair[0]] == places[pair[1]]]
    assert shared == [(2, 3)]


# ---------------------------------------------------------------- the other layouts


def test_regdb_layout(tmp_path: Path) -> None:
    generation.generate("regdb", tmp_path, 6, 3, seed=1, workers=1)
    for kind in ("Visible", "Thermal"):
        assert sorted(path.name for path in (tmp_path / kind).iterdir()) == [str(i) for i in range(1, 7)]
        for path in (tmp_path / kind).rglob("*.*"):
            with Image.open(path) as image:
                assert (image.format, image.size) == ("BMP", (64, 128))
    assert len(list((tmp_path / "idx").iterdir())) == 40
    halves = set()
    for trial in range(1, 11):
        people = {}
        for split in ("train", "test"):
            for kind in ("visible", "thermal"):
                rows = rows_in(tmp_path / "idx" / f"{split}_{kind}_{trial}.txt")
                assert len(rows) == 3 * 3 and all((tmp_path / path).is_file() for path, _ in rows)
                found = defaultdict(set)
                for path, label in rows:
                    assert path.startswith(kind.capitalize() + "/")
                    found[label].add(int(path.split("/")[1]))
                assert sorted(found) == [0, 1, 2] and all(len(ids) == 1 for ids in found.values())
                people[split, kind] = {label: ids.pop() for label, ids in found.items()}
            assert people[split, "visible"] == people[split, "thermal"]
        train, test = (set(people[split, "visible"].values()) for split in ("train", "test"))
        assert not train & test and train | test == set(range(1, 7))
        halves.add(frozenset(train))
    assert len(halves) == 10


def test_regdb_splits_repeat_only_where_there_are_too_few_people() -> None:
    texts = uniform_plan("regdb", 4, 1, 0).texts  # only six halves of four people exist
    assert len({texts[f"idx/train_visible_{trial}.txt"] for trial in range(1, 11)}) == 6


def test_llcm_layout(tmp_path: Path) -> None:
    generation.generate("llcm", tmp_path, 9, 1, seed=2, workers=1)
    test_ids = ids_in(tmp_path / "idx" / "test_id.txt")
    assert len(test_ids) == 3
    listed = {}
    for short, kind in (("vis", "visible"), ("nir", "infrared")):
        rows = rows_in(tmp_path / "idx" / f"train_{short}.txt")
        on_disk = {str(path.relative_to(tmp_path)) for path in (tmp_path / short).rglob("*.jpg")}
        assert {path for path, _ in rows} == on_disk and len(rows) == len(on_disk)
        listed[short] = {(int(path.split("/")[1]), label) for path, label in rows}
        for path, _ in rows:
            folder, identity, name = path.split("/")
            assert folder == short and name.startswith(f"{identity}_c0") and name.endswith(f"_{short}.jpg")
        for identity in test_ids:
            cameras = {
                int(folder.name.removeprefix("cam"))
                for folder in (tmp_path / f"test_{short}").iterdir()
                if (folder / f"{identity:04d}").is_dir()
            }
            assert cameras == {camera for of, camera in llcm_views_of(2, identity) if of == kind} and len(cameras) >= 3
    assert listed["vis"] == listed["nir"]
    train_ids = sorted(identity for identity, _ in listed["vis"])
    assert sorted(listed["vis"]) == [(identity, label) for label, identity in enumerate(train_ids)]
    assert sorted(train_ids + test_ids) == list(range(1, 10))
    assert not (tmp_path / "test_nir" / "cam3").exists()


def test_llcm_camera_3_is_visible_only() -> None:
    seen = {view for identity in range(1, 200) for view in llcm_views_of(0, identity)}
    assert {camera for kind, camera in seen if kind == "visible"} == {1, 2, 3, 4, 5, 6, 7, 8, 9}
    assert {camera for kind, camera in seen if kind == "infrared"} == {1, 2, 4, 5, 6, 7, 8, 9}


def test_folder_layout(tmp_path: Path) -> None:
    generation.generate("folder", tmp_path, 4, 2, workers=1)
    expected = {
        f"{kind}/{identity:04d}/c{camera}_{number:03d}.jpg"
        for kind, cameras in (("visible", (1, 2)), ("infrared", (3, 4)))
        for identity in range(1, 5)
        for camera in cameras
        for number in (1, 2)
    }
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == expected | {MARKER}
