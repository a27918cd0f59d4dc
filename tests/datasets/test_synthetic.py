"""Generated data sets: what a picture depends on, the folder layouts file by file, and when writing is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat

from pipeline.datasets import synthetic
from pipeline.datasets.drawing import PictureKey, draw_picture
from pipeline.datasets.layouts import LAYOUTS, llcm_cameras_of, sysu_cameras_of
from pipeline.datasets.people import make_person

PROJECT = Path(__file__).resolve().parents[2]
VISIBLE_CAMERAS, INFRARED_CAMERAS = {1, 2, 4, 5}, {3, 6}


def files_below(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def ids_in(path: Path) -> list[int]:
    lines = path.read_text().splitlines()
    assert len(lines) == 1
    return [int(text) for text in lines[0].split(",")]


def rows_in(path: Path) -> list[tuple[str, int]]:
    return [(line.split(" ")[0], int(line.split(" ")[1])) for line in path.read_text().splitlines()]


def grey_feature(key: PictureKey) -> np.ndarray:
    values = np.asarray(draw_picture(key).convert("L").resize((32, 64)), np.float64).ravel()
    values -= values.mean()
    return values / np.linalg.norm(values)


def rank_1(queries: dict, gallery: dict) -> float:
    """Share of the queries whose nearest picture shows the same person; both: key -> (identity, feature)."""
    right = 0
    for identity, feature in queries.values():
        nearest = max(gallery.values(), key=lambda other: float(feature @ other[1]))
        right += nearest[0] == identity
    return right / len(queries)


@pytest.fixture(scope="module")
def sysu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sysu") / "set"
    synthetic.generate("sysu", root, 10, 2, seed=3, workers=1)
    return root


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize("change", ["seed", "identity", "camera", "number", "kind"])
def test_a_picture_depends_on_every_part_of_its_key(change: str) -> None:
    key = PictureKey(seed=1, identity=2, camera=1, number=1, kind="visible", place=1, size=(64, 160))
    other = {"seed": 2, "identity": 3, "camera": 2, "number": 2, "kind": "infrared"}[change]
    changed = PictureKey(**{**vars(key), change: other})
    again = draw_picture(key)
    assert np.array_equal(np.asarray(draw_picture(key)), np.asarray(again))
    assert not np.array_equal(np.asarray(draw_picture(changed)), np.asarray(again))


@pytest.mark.parametrize("kind", ["visible", "infrared", "thermal"])
def test_pictures_are_rgb_and_only_visible_ones_have_colour(kind: str) -> None:
    image = draw_picture(PictureKey(0, 5, 1, 1, kind, 1))
    assert image.mode == "RGB"
    assert 60 <= image.width <= 90 and 150 <= image.height <= 205
    red, green, blue = np.moveaxis(np.asarray(image, np.int64), 2, 0)
    grey = np.array_equal(red, green) and np.array_equal(green, blue)
    assert grey == (kind != "visible")


def test_every_pose_of_many_people_can_be_drawn() -> None:
    """All kinds of clothes, hair and bags occur among so many, seen from all sides."""
    people = [make_person(0, identity) for identity in range(1, 121)]
    assert {person.carried.bag for person in people} >= {"none", "backpack", "crossbody", "handbag", "tote", "suitcase"}
    assert len({person.top.kind for person in people}) == 7 and len({person.bottom.kind for person in people}) == 7
    for identity in range(1, 121):
        pixels = np.asarray(draw_picture(PictureKey(0, identity, 1, identity, "visible", 1)), np.float64)
        assert pixels.std() > 5


def test_infrared_brightness_follows_lightness_but_is_no_function_of_the_colour() -> None:
    materials = [material for identity in range(1, 301) for material in make_person(0, identity).materials.values()]
    infrared = np.array([material.infrared for material in materials])
    lightness = np.array([material.visible for material in materials]) @ (0.299, 0.587, 0.114)
    assert 0.3 < np.corrcoef(lightness, infrared)[0, 1] < 0.6
    channels = np.array([(*material.visible, 1) for material in materials])
    channels = np.concatenate([channels, channels**2, channels[:, :3] * channels[:, (1, 2, 0)]], axis=1)
    formula, *_ = np.linalg.lstsq(channels, infrared, rcond=None)
    assert (infrared - channels @ formula).std() > 0.8 * infrared.std()


def test_grey_comparison_fails_across_modalities_and_works_within_one() -> None:
    features = defaultdict(dict)
    for identity in range(1, 21):
        for camera, kind in ((1, "visible"), (4, "visible"), (3, "infrared")):
            for number in (1, 2, 3):
                feature = grey_feature(PictureKey(0, identity, camera, number, kind, camera))
                features[camera][identity, number] = (identity, feature)
    across = rank_1(features[3], {**features[1], **{(4, *key): value for key, value in features[4].items()}})
    within = rank_1(features[1], features[4])
    assert across < 0.2  # chance: 0.05
    assert within > 0.2
    assert within > 2 * across


# ---------------------------------------------------------------- determinism


def test_workers_change_nothing(tmp_path: Path) -> None:
    for workers in (1, 2):
        count = synthetic.generate("folder", tmp_path / str(workers), 6, 3, seed=7, workers=workers)
        assert count == 6 * 4 * 3 > synthetic.CHUNK  # so that there is work for two
    one, two = files_below(tmp_path / "1"), files_below(tmp_path / "2")
    assert one == two


@pytest.mark.parametrize("layout", ["sysu", "folder"])
def test_a_larger_set_contains_the_smaller_ones_pictures(tmp_path: Path, layout: str) -> None:
    synthetic.generate(layout, tmp_path / "small", 4, 1, workers=1)
    synthetic.generate(layout, tmp_path / "large", 6, 2, workers=1)
    small, large = files_below(tmp_path / "small"), files_below(tmp_path / "large")
    pictures = [name for name in small if name.endswith(".jpg")]
    assert len(pictures) >= 16
    assert all(small[name] == large[name] for name in pictures)


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_a_plan_names_each_picture_once_and_keeps_keys_whatever_the_number_of_people(layout: str) -> None:
    small, large = LAYOUTS[layout](8, 2, 1), LAYOUTS[layout](30, 3, 1)
    for plan in (small, large):
        assert len({path for path, _ in plan.pictures}) == len({key for _, key in plan.pictures}) == len(plan.pictures)
    assert {key for _, key in small.pictures} <= {key for _, key in large.pictures}


# ---------------------------------------------------------------- SYSU-MM01


def test_sysu_has_the_pictures_of_every_person_and_camera(sysu: Path) -> None:
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
    cells = LAYOUTS["sysu"](4, 12, 0).matrices["exp/rand_perm_cam.mat"]["rand_perm_cam"]
    first = cells[0, 0][0, 0]  # person 1 is in all cameras
    assert len({tuple(row) for row in first.tolist()}) == 10
    assert not np.array_equal(first, cells[1, 0][0, 0])


def test_sysu_everybody_is_in_both_modalities_some_lack_cameras_and_no_search_is_empty() -> None:
    seen = {identity: set(sysu_cameras_of(0, identity)) for identity in range(1, 201)}
    assert all(cameras & VISIBLE_CAMERAS and cameras & INFRARED_CAMERAS for cameras in seen.values())
    assert 10 < sum(len(cameras) < 6 for cameras in seen.values()) < 100
    for seed in range(20):
        test_ids = LAYOUTS["sysu"](4, 1, seed).texts["exp/test_id.txt"]
        assert any(len(sysu_cameras_of(seed, int(text))) == 6 for text in test_ids.split(","))


def test_sysu_cameras_2_and_3_share_their_place_and_no_others_do() -> None:
    places = {key.camera: key.place for _, key in LAYOUTS["sysu"](5, 1, 0).pictures}
    shared = [pair for pair in combinations(sorted(places), 2) if places[pair[0]] == places[pair[1]]]
    assert shared == [(2, 3)]


# ---------------------------------------------------------------- the other layouts


def test_regdb_layout(tmp_path: Path) -> None:
    synthetic.generate("regdb", tmp_path, 6, 3, seed=1, workers=1)
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
    texts = LAYOUTS["regdb"](4, 1, 0).texts  # only six halves of four people exist
    assert len({texts[f"idx/train_visible_{trial}.txt"] for trial in range(1, 11)}) == 6


def test_llcm_layout(tmp_path: Path) -> None:
    synthetic.generate("llcm", tmp_path, 9, 1, seed=2, workers=1)
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
            assert cameras == set(llcm_cameras_of(2, identity)[kind]) and len(cameras) >= 3
    assert listed["vis"] == listed["nir"]
    train_ids = sorted(identity for identity, _ in listed["vis"])
    assert sorted(listed["vis"]) == [(identity, label) for label, identity in enumerate(train_ids)]
    assert sorted(train_ids + test_ids) == list(range(1, 10))
    assert not (tmp_path / "test_nir" / "cam3").exists()


def test_llcm_camera_3_is_visible_only() -> None:
    seen = [llcm_cameras_of(0, identity) for identity in range(1, 200)]
    assert {camera for cameras in seen for camera in cameras["visible"]} == {1, 2, 3, 4, 5, 6, 7, 8, 9}
    assert {camera for cameras in seen for camera in cameras["infrared"]} == {1, 2, 4, 5, 6, 7, 8, 9}


def test_folder_layout(tmp_path: Path) -> None:
    synthetic.generate("folder", tmp_path, 4, 2, workers=1)
    expected = {
        f"{kind}/{identity:04d}/c{camera}_{number:03d}.jpg"
        for kind, cameras in (("visible", (1, 2)), ("infrared", (3, 4)))
        for identity in range(1, 5)
        for camera in cameras
        for number in (1, 2)
    }
    assert set(files_below(tmp_path)) == expected | {synthetic.MARKER}


# ---------------------------------------------------------------- marker and refusals


def test_the_same_command_again_finds_the_set_and_touches_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--layout", "folder", "--root", str(tmp_path / "set"), "--identities", "4", "--images-per-camera", "1"]
    synthetic.main([*command, "--workers", "1"])
    assert f"{tmp_path / 'set'}: 16 pictures of 4 people, folder layout" in capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "set").rglob("*")}
    synthetic.main(command)
    assert "already there" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "set").rglob("*")}


def test_an_interrupted_set_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synthetic.generate("folder", tmp_path / "whole", 4, 1, workers=1)
    drawn = []

    def interrupted(key: PictureKey) -> Image.Image:
        if len(drawn) == 5:
            raise KeyboardInterrupt
        drawn.append(key)
        return draw_picture(key)

    root = tmp_path / "set"
    monkeypatch.setattr(synthetic, "draw_picture", interrupted)
    with pytest.raises(KeyboardInterrupt):
        synthetic.generate("folder", root, 4, 1, workers=1)
    assert not (root / synthetic.MARKER).exists() and len(list(root.rglob("*.jpg"))) == 5
    monkeypatch.undo()
    with pytest.raises(ValueError, match="expected a set with seed 1; found one with seed 0"):
        synthetic.generate("folder", root, 4, 1, seed=1, workers=1)
    assert synthetic.generate("folder", root, 4, 1, workers=1) == 16
    assert files_below(root) == files_below(tmp_path / "whole")


def test_other_settings_are_refused_by_name_unless_forced(tmp_path: Path) -> None:
    synthetic.generate("folder", tmp_path, 5, 1, workers=1)
    before = files_below(tmp_path)
    with pytest.raises(ValueError, match=r"expected a set with identities 4; found one with identities 5.*--force"):
        synthetic.generate("folder", tmp_path, 4, 1, workers=1)
    assert files_below(tmp_path) == before
    assert synthetic.generate("folder", tmp_path, 4, 1, workers=1, force=True) == 16
    assert not (tmp_path / "visible" / "0005").exists()
    assert json.loads((tmp_path / synthetic.MARKER).read_text())["identities"] == 4


@pytest.mark.parametrize("marker", [None, "{}", "not json", '{"made_by": "somebody"}'])
def test_a_folder_that_is_not_ours_is_never_touched(tmp_path: Path, marker: str | None) -> None:
    (tmp_path / "thesis.txt").write_text("four years")
    if marker is not None:
        (tmp_path / synthetic.MARKER).write_text(marker)
    before = files_below(tmp_path)
    for force in (False, True):
        with pytest.raises(ValueError, match="not empty and has no synthetic.json") as refusal:
            synthetic.generate("folder", tmp_path, 4, 1, workers=1, force=force)
        assert "\n" not in str(refusal.value)
    assert files_below(tmp_path) == before


def test_force_leaves_what_a_link_points_to(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept.txt").write_text("kept")
    synthetic.generate("folder", tmp_path / "set", 4, 1, workers=1)
    os.symlink(outside, tmp_path / "set" / "link")
    synthetic.generate("folder", tmp_path / "set", 5, 1, workers=1, force=True)
    assert (outside / "kept.txt").read_text() == "kept" and not (tmp_path / "set" / "link").exists()


def test_a_file_in_the_place_of_the_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set").write_text("")
    with pytest.raises(ValueError, match="expected a folder or nothing; found a file"):
        synthetic.generate("folder", tmp_path / "set", 4, 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("identities", 3),
        ("identities", 10000),
        ("identities", 4.5),
        ("identities", True),
        ("images_per_camera", 0),
        ("images_per_camera", -2),
        ("seed", -1),
        ("workers", 0),
    ],
)
def test_bad_numbers_are_refused_by_name(tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{name}: expected a whole number from .*; found {value!r}$"):
        synthetic.generate("folder", tmp_path / "set", **{"identities": 4, name: value})
    assert not (tmp_path / "set").exists()


def test_an_unknown_layout_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="layout: expected one of sysu, regdb, llcm, folder; found 'market'"):
        synthetic.generate("market", tmp_path / "set", 4)


def test_the_command_ends_with_one_line_where_it_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipeline.datasets.synthetic", "--layout", "sysu", "--root", str(tmp_path / "set")]
    ended = subprocess.run([*command, "--identities", "2"], cwd=PROJECT, capture_output=True, text=True)
    assert ended.returncode == 1 and ended.stdout == ""
    assert ended.stderr == "synthetic: identities: expected a whole number from 4 to 9999; found 2\n"


def test_the_command_draws_no_progress_bar_without_a_terminal(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pipeline.datasets.synthetic",
        "--layout",
        "folder",
        "--root",
        str(tmp_path / "set"),
    ]
    command += ["--identities", "4", "--images-per-camera", "4", "--workers", "2"]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert ended.returncode == 0 and ended.stderr == ""
    assert ended.stdout.startswith(f"synthetic: {tmp_path / 'set'}: 64 pictures of 4 people, folder layout, ")
