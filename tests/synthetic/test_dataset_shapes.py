"""The shapes of generated data sets: published, scaled, from a file."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.io import loadmat

from pipeline.batch import Modality
from pipeline.datasets import DATASETS, marker
from pipeline.synthetic import __main__ as command
from pipeline.synthetic import generation
from pipeline.synthetic.dataset_layouts import LAYOUTS
from pipeline.synthetic.dataset_shapes import PUBLISHED, SYSU_CAMERAS, SYSU_GROUPS, UNIFORM, Shape, scaled
from pipeline.synthetic.shape_files import read_shape
from pipeline.synthetic.sizes import SCALABLE, USUAL_IMAGES
from tests.datasets.reading import read_index, trials

PUBLISHED_SYSU = DATASETS["sysu"].published
HEADER = "id,split,cam1,cam2,cam3,cam4,cam5,cam6"
ROWS = ["12,test,2,3,2,1,2,1", "3,train,2,2,2,2,2,2", "4,train,0,0,2,3,1,0", "7,none,1,0,0,0,0,0", "9,val,0,0,1,1,1,0"]
COUNTS = {3: (2, 2, 2, 2, 2, 2), 4: (0, 0, 2, 3, 1, 0), 7: (1, 0, 0, 0, 0, 0), 9: (0, 0, 1, 1, 1, 0)}
COUNTS[12] = (2, 3, 2, 1, 2, 1)


def write_shape(folder: Path, rows: list[str], header: str = HEADER) -> Path:
    file = folder / "shape.csv"
    file.write_text("\n".join([header, *rows]) + "\n")
    return file


def images_by_split_and_camera(shape: Shape) -> Counter:
    counts: Counter = Counter()
    for presence in shape.values():
        for (kind, camera), count in presence.images.items():
            counts[presence.split, Modality.VISIBLE if kind == "visible" else Modality.INFRARED, camera] += count
    return counts


def identities_by_split(shape: Shape) -> dict[str, int]:
    return dict(Counter(presence.split for presence in shape.values()))


# ---------------------------------------------------------------- published numbers


@pytest.mark.parametrize("seed", [0, 5])
def test_sysu_at_scale_1_has_the_published_numbers(seed: int) -> None:
    shape = scaled("sysu", 1, seed)
    assert images_by_split_and_camera(shape) == PUBLISHED_SYSU.images
    assert identities_by_split(shape) == PUBLISHED_SYSU.identities
    assert all(len({kind for kind, _ in presence.images}) == 2 for presence in shape.values())
    images = LAYOUTS["sysu"](shape, seed).images
    assert len(images) == len(set(images)) == sum(PUBLISHED_SYSU.images.values()) == 44745


def test_sysu_at_scale_1_has_galleries_of_the_published_size() -> None:
    test = [presence.images for presence in scaled("sysu", 1, 0).values() if presence.split == "test"]
    for cameras, size in (((1, 2, 4, 5), 301), ((1, 2), 112)):
        counts = [images["visible", camera] for images in test for camera in cameras if ("visible", camera) in images]
        assert len(counts) == size
        assert min(counts) >= 10  # for multi-shot galleries


def test_regdb_at_scale_1_has_the_published_numbers() -> None:
    plan = LAYOUTS["regdb"](scaled("regdb", 1, 0), 0)
    assert len(plan.images) == 412 * 20
    assert all(text.count("\n") == 2060 for text in plan.texts.values()) and len(plan.texts) == 40
    assert len({plan.texts[f"idx/train_visible_{trial}.txt"] for trial in range(1, 11)}) == 10


def test_llcm_at_scale_1_has_the_published_numbers() -> None:
    shape = scaled("llcm", 1, 0)
    assert identities_by_split(shape) == DATASETS["llcm"].published.identities
    plan = LAYOUTS["llcm"](shape, 0)
    assert len(plan.images) == len(set(plan.images)) == DATASETS["llcm"].published.total
    for presence in shape.values():
        assert min(Counter(kind for kind, _ in presence.images).values()) >= 3


def test_the_groups_of_cameras_are_those_of_the_true_data_set(shared_folder: Path) -> None:
    shape, _ = read_shape(shared_folder / "protocols" / "sysu_shape.csv")
    for split, groups in SYSU_GROUPS.items():
        seen = [presence.images for presence in shape.values() if presence.split == split]
        assert Counter(tuple(camera for _, camera in images) for images in seen) == groups


@pytest.mark.parametrize("layout", list(PUBLISHED))
def test_a_larger_scale_contains_the_smaller_one_and_keeps_each_persons_images(layout: str) -> None:
    whole = scaled(layout, 1, 3)
    smaller: Shape = {}
    for scale in (0.001, 0.1, 0.35, 1):
        larger = scaled(layout, scale, 3)
        assert smaller.items() <= larger.items() <= whole.items()
        for split, count in identities_by_split(larger).items():
            assert count == max(round(scale * identities_by_split(whole)[split]), 4 if layout == "regdb" else 2)
        smaller = larger


# ---------------------------------------------------------------- generated and read back


@pytest.mark.parametrize("layout", list(PUBLISHED))
def test_the_smallest_scale_can_be_tested_on(tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "_render_chunk", touch_chunk)
    count = generation.generate(layout, tmp_path, scale=1e-6, seed=1, workers=1)
    index = read_index(layout, tmp_path)
    assert len(index) == count
    every = {"sysu": {"modes": ("all", "indoor"), "shots": ("single", "multi"), "gallery_rule": "official"}}
    for trial in trials(layout, index, tmp_path, **every.get(layout, {})):
        assert len(trial.query) and len(trial.gallery)
        found = index["identity"].to_numpy()
        assert set(found[trial.query]) & set(found[trial.gallery])
    if layout == "sysu":
        assert trials(layout, index, tmp_path, split="val", modes=("all",), gallery_rule="official")


def touch_chunk(root: Path, chunk: list) -> int:
    """In the place of rendering, where only names matter."""
    for path, _ in chunk:
        (root / path).touch()
    return len(chunk)


def test_a_generated_shape_is_the_files(tmp_path: Path) -> None:
    file = write_shape(tmp_path, ROWS)
    root = tmp_path / "set"
    assert generation.generate("sysu", root, shape=file, workers=1) == sum(sum(counts) for counts in COUNTS.values())
    for identity, counts in COUNTS.items():
        for camera, count in enumerate(counts, 1):
            folder = root / f"cam{camera}" / f"{identity:04d}"
            names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
            assert names == [f"{number:04d}.jpg" for number in range(1, count + 1)]
    index = read_index("sysu", root)
    assert index.groupby("split")["identity"].unique().map(list).to_dict() == {
        "train": [3, 4],
        "val": [9],
        "test": [12],
    }
    assert (root / "exp" / "available_id.txt").read_text() == "3,4,9,12\n"
    cells = loadmat(root / "exp" / "rand_perm_cam.mat")["rand_perm_cam"]
    assert [cell.shape for cell in cells.ravel()] == [(12, 1)] * 6
    for identity in range(1, 13):
        shapes = [cells[camera - 1, 0][identity - 1, 0].shape for camera in SYSU_CAMERAS]
        assert shapes == [(10, count) for count in COUNTS.get(identity, (0,) * 6)]
    single, multi = (trials("sysu", index, root, modes=("all",), shots=(shots,)) for shots in ("single", "multi"))
    assert [trial.fields["gallery_rule"] for trial in single] == ["official"] * 10
    assert [len(trials_of[0].gallery) for trials_of in (single, multi)] == [4, 2 + 3 + 1 + 2]


def test_a_persons_images_are_the_same_in_every_shape(tmp_path: Path) -> None:
    generation.generate("sysu", tmp_path / "shape", shape=write_shape(tmp_path, ROWS), workers=1)
    generation.generate("sysu", tmp_path / "uniform", 4, 2, workers=1)
    path = "cam3/0003/0002.jpg"
    assert (tmp_path / "shape" / path).read_bytes() == (tmp_path / "uniform" / path).read_bytes()


def test_the_true_shape(shared_folder: Path) -> None:
    file = shared_folder / "protocols" / "sysu_shape.csv"
    shape, _ = read_shape(file)
    table = pd.read_csv(file, keep_default_na=False).set_index("id")
    assert list(shape) == sorted(table.index)
    for identity, presence in shape.items():
        row = table.loc[identity]
        assert presence.split == row["split"]
        assert [presence.images.get((kind, camera), 0) for camera, kind in SYSU_CAMERAS.items()] == list(row[1:])
    counts = images_by_split_and_camera(shape)
    assert {key: count for key, count in counts.items() if key[0] != "none"} == PUBLISHED_SYSU.images
    plan = LAYOUTS["sysu"](shape, 0)
    assert len(plan.images) == 45863
    published = loadmat(shared_folder / "protocols" / "rand_perm_cam.mat")["rand_perm_cam"]
    made = plan.matrices["exp/rand_perm_cam.mat"]["rand_perm_cam"]
    for camera in range(6):
        for identity, cell in enumerate(published[camera, 0].ravel()):
            assert made[camera, 0][identity, 0].shape == cell.shape
    for name in ("train", "test", "available"):
        listed = (shared_folder / "protocols" / f"{name}_id.txt").read_text()
        assert plan.texts[f"exp/{name}_id.txt"].strip() == listed.strip()


# ---------------------------------------------------------------- the marker


def test_the_marker_knows_sizes_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "_render_chunk", touch_chunk)
    root, file = tmp_path / "set", write_shape(tmp_path, ROWS)
    assert not marker.has_published_shape(root)
    generation.generate("sysu", root, shape=file, workers=1)
    assert generation.generate("sysu", root, shape=file) == 0
    assert marker.has_published_shape(root)
    with pytest.raises(ValueError, match="expected a set with scale 0.01; found one with shape_sha256 [0-9a-f]{64};"):
        generation.generate("sysu", root, scale=0.01)
    write_shape(tmp_path, ROWS[:-1] + ["9,val,0,0,1,1,2,0"])
    with pytest.raises(ValueError, match="expected a set with shape_sha256 .*; found one with shape_sha256 "):
        generation.generate("sysu", root, shape=file)
    generation.generate("sysu", root, scale=0.01, workers=1, force=True)
    assert json.loads((root / marker.MARKER).read_text())["scale"] == 0.01
    assert not marker.has_published_shape(root)
    with pytest.raises(ValueError, match="expected a set with identities 4, images_per_camera 6; found one with scale"):
        generation.generate("sysu", root, 4)


@pytest.mark.parametrize(
    ("size", "published"), [({"scale": 1.0}, True), ({"scale": 0.99}, False), ({"identities": 412}, False)]
)
def test_only_a_complete_set_of_scale_1_has_the_published_shape(tmp_path: Path, size: dict, published: bool) -> None:
    content = json.dumps({"made_by": marker.MADE_BY, "version": generation.VERSION, **size})
    (tmp_path / marker.UNFINISHED_MARKER).write_text(content)
    assert not marker.has_published_shape(tmp_path)
    (tmp_path / marker.MARKER).write_text(content)
    assert marker.has_published_shape(tmp_path) == published


def test_the_command_says_how_large_the_set_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--layout", "sysu", "--root", str(tmp_path / "set"), "--workers", "1"]
    command.main([*arguments, "--shape", str(write_shape(tmp_path, ROWS))])
    assert f"{tmp_path / 'set'}: 33 images in the shape of shape.csv, sysu layout, " in capsys.readouterr().out
    arguments = ["--layout", "regdb", "--root", str(tmp_path / "regdb"), "--workers", "1"]
    command.main([*arguments, "--scale", "0.001"])
    assert "80 images at scale 0.001, regdb layout, " in capsys.readouterr().out


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("scale", [0, -0.5, 1.01, float("nan"), True, "1"])
def test_a_scale_out_of_range_is_an_error(tmp_path: Path, scale: object) -> None:
    with pytest.raises(ValueError, match=f"^scale: expected a number above 0 and at most 1; found {scale!r}$"):
        generation.generate("sysu", tmp_path / "set", scale=scale)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"identities": 40, "scale": 0.5}, "identities or images_per_camera and scale"),
        ({"images_per_camera": 2, "shape": "x.csv"}, "identities or images_per_camera and shape"),
        ({"scale": 0.5, "shape": "x.csv"}, "scale and shape"),
    ],
)
def test_two_sizes_are_errors(tmp_path: Path, given: dict, found: str) -> None:
    expected = "size: expected identities and images_per_camera, or scale, or shape"
    with pytest.raises(ValueError, match=f"^{expected}; found {found}$"):
        generation.generate("sysu", tmp_path / "set", **given)


def test_layouts_without_such_a_size_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="^scale: expected one of the layouts sysu, regdb, llcm; found folder$"):
        generation.generate("folder", tmp_path / "set", scale=0.5)
    with pytest.raises(ValueError, match="^shape: expected the layout sysu; found llcm$"):
        generation.generate("llcm", tmp_path / "set", shape=write_shape(tmp_path, ROWS))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["3,training,2,2,2,2,2,2"], "line 2, split: expected one of train, val, test, none; found 'training'"),
        ([*ROWS, "3,test,1,1,1,1,1,1"], "line 7: expected each id once; found 3 again"),
        (["3,train,2,-1,2,2,2,2"], "line 2, cam2: expected a whole number from 0 to 9999; found '-1'"),
        (["3,train,2,2,2,2,2.5,2"], "line 2, cam5: expected a whole number from 0 to 9999; found '2.5'"),
        (["3,train,2,2,2,2,2,"], "line 2, cam6: expected a whole number from 0 to 9999; found ''"),
        (["0,train,2,2,2,2,2,2"], "line 2, id: expected a whole number from 1 to 9999; found '0'"),
        (["3,train,2,2,2,2,2"], "line 2: expected 8 values; found 7"),
        (["3,train,0,0,0,0,0,0"], "line 2: expected images of identity 3 by some camera; found none"),
        (ROWS[1:], ": expected a test identity with visible and infrared images; found no identity"),
        (ROWS[:-1], ": expected a val identity with visible and infrared images; found no identity"),
        (
            [*ROWS[1:], "12,test,2,2,0,2,2,0"],
            ": expected a test identity with visible and infrared images; found identities of one modality only",
        ),
        (
            ["3,train,1,0,2,1,1,2", "4,test,1,0,2,1,1,2", "7,none,0,2,0,0,0,0", "9,val,0,0,1,1,1,0"],
            ": expected images by cam2 of an identity in a split; found none",
        ),
    ],
)
def test_an_unusable_shape_is_an_error_in_one_line(tmp_path: Path, rows: list[str], message: str) -> None:
    file = write_shape(tmp_path, rows)
    with pytest.raises(ValueError) as refusal:
        generation.generate("sysu", tmp_path / "set", shape=file)
    where = f"shape {file}" if message.startswith(":") else f"shape {file}, "
    assert str(refusal.value) == where + message
    assert not (tmp_path / "set").exists()


def test_a_file_that_is_no_shape_is_an_error_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"^shape .*missing\.csv: expected a CSV file; found No such file or directory$"
    ):
        read_shape(tmp_path / "missing.csv")
    (tmp_path / "image.csv").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(ValueError, match=r"image\.csv: expected a CSV file; found bytes that are not UTF-8$"):
        read_shape(tmp_path / "image.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(ValueError, match=f"expected the columns {HEADER}; found nothing$"):
        read_shape(tmp_path / "empty.csv")
    with pytest.raises(ValueError, match=f"expected the columns {HEADER}; found id,cam1$"):
        read_shape(write_shape(tmp_path, ROWS, "id,cam1"))


def test_spaces_blank_lines_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    file = write_shape(tmp_path, ROWS)
    plain, digest = read_shape(file)
    file.write_text("\ufeff" + "\r\n\r\n".join([HEADER, *ROWS]).replace(",", " , ") + "\r\n,,,\r\n", encoding="utf-8")
    spaced, other = read_shape(file)
    assert plain == spaced and digest != other
    assert np.all(np.diff(list(plain)) > 0)


def test_every_layout_has_a_usual_size_and_those_with_published_numbers_a_scale() -> None:
    assert list(USUAL_IMAGES) == list(LAYOUTS) == list(UNIFORM)
    assert list(SCALABLE) == list(PUBLISHED)
