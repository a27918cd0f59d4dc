"""Packs: the same data set, the same images, and every way in which they can be bad."""

from __future__ import annotations

import dataclasses
import errno
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline.datasets import dataset_of
from pipeline.datasets.pack import Description, Packs, is_packed, pack_files, write_packs
from pipeline.loading.images import FolderImages, open_images
from pipeline.settings import DataSettings
from pipeline.synthetic.generation import generate
from tests.datasets.reading import read_index

LAYOUTS = {"sysu": 2, "regdb": 2, "llcm": 1, "folder": 2}  # images of each identity and camera


def usual_splitting(dataset: str) -> dict:
    return dataset_of(dataset).splitting(DataSettings())


def describe(dataset: str, root: Path, index: pd.DataFrame) -> Description:
    rows = index["split"].value_counts(sort=False).to_dict()
    return Description(dataset, usual_splitting(dataset), str(root), published=False, rows=rows)


def pack(dataset: str, root: Path, folder: Path, **options) -> pd.DataFrame:
    index = read_index(dataset, root)
    write_packs(folder, index, describe(dataset, root, index), **options)
    return index


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sets ä cam1")
    for layout, images in LAYOUTS.items():
        generate(layout, folder / layout, identities=6, images_per_camera=images, workers=1)
    return {layout: folder / layout for layout in LAYOUTS}


@pytest.fixture()
def root(roots, tmp_path) -> Path:
    return shutil.copytree(roots["folder"], tmp_path / "set")


# ---------------------------------------------------------------- equal to the folder


@pytest.mark.parametrize("dataset", list(LAYOUTS))
def test_index_and_images_are_those_of_the_folder(dataset, roots, tmp_path):
    index = pack(dataset, roots[dataset], tmp_path, threads=2)
    packed = read_index(dataset, tmp_path)
    pd.testing.assert_frame_equal(packed.drop(columns="path"), index.drop(columns="path"))
    for one, other, split in zip(packed["path"], index["path"], index["split"], strict=True):
        assert one == str(tmp_path / f"{split}.arrow" / Path(other).relative_to(roots[dataset]))
    from_folder, from_pack = FolderImages(index), open_images(tmp_path, packed)
    assert (from_pack.form, from_folder.form) == ("encoded", "path")
    for row in range(len(index)):
        content = Path(index["path"][row]).read_bytes()
        assert from_pack.read(row).tobytes() == from_folder.read(row).tobytes() == content
        assert from_pack.path(row) == packed["path"][row]
    rows = np.random.default_rng(0).permutation(len(index))[:7]
    assert [array.tobytes() for array in from_pack.feed(rows)] == [Path(index["path"][r]).read_bytes() for r in rows]


def test_other_tools_read_it_and_nothing_is_copied(roots, tmp_path):
    index = pack("sysu", roots["sysu"], tmp_path)
    table = pd.read_feather(tmp_path / "train.arrow")
    assert table["identity"].tolist() == index["identity"][index["split"] == "train"].tolist()
    allocated = pa.total_allocated_bytes()
    image = Packs(tmp_path).image(0)
    assert pa.total_allocated_bytes() - allocated < 1000 and not image.flags.owndata and not image.flags.writeable


def test_a_pack_in_the_home_folder_is_found_by_its_tilde(roots, tmp_path, monkeypatch):
    index = pack("folder", roots["folder"], tmp_path / "packs")
    monkeypatch.setenv("HOME", str(tmp_path))
    packed = read_index("folder", "~/packs")
    assert open_images("~/packs", packed).form == "encoded" and len(packed) == len(index)


def test_a_pack_stands_alone_when_its_source_is_gone(root, tmp_path):
    index = pack("folder", root, tmp_path / "packs")
    contents = [Path(path).read_bytes() for path in index["path"]]
    shutil.rmtree(root)
    shutil.move(tmp_path / "packs", tmp_path / "moved")
    packed = read_index("folder", tmp_path / "moved")
    image_source = open_images(tmp_path / "moved", packed)
    assert [image_source.read(row).tobytes() for row in range(len(packed))] == contents


# ---------------------------------------------------------------- refused


def flip_byte(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


def test_a_flipped_bit_in_any_image_is_found_when_it_is_read(root, tmp_path):
    index = pack("folder", root, tmp_path / "packs")
    for row in (0, len(index) // 2, len(index) - 1):
        file = tmp_path / "packs" / f"{index['split'][row]}.arrow"
        whole = file.read_bytes()
        flip_byte(file, whole.index(Path(index["path"][row]).read_bytes()) + 100)
        packed = read_index("folder", tmp_path / "packs")
        image_source = open_images(tmp_path / "packs", packed)
        with pytest.raises(ValueError, match="damaged there"):
            image_source.read(row)
        with pytest.raises(ValueError, match=rf"{Path(index['path'][row]).name}: the pack is damaged there"):
            image_source.feed([row])
        file.write_bytes(whole)
        read_index("folder", tmp_path / "packs")


def test_a_changed_label_is_damage_too(root, tmp_path):
    index = pack("folder", root, tmp_path / "packs")
    shutil.rmtree(root)  # with the folder there, the index alone would tell
    file = tmp_path / "packs" / "train.arrow"
    identities = index["identity"][index["split"] == "train"].to_numpy(np.int64).tobytes()
    flip_byte(file, file.read_bytes().index(identities))
    image_source = open_images(tmp_path / "packs", read_index("folder", tmp_path / "packs"))
    with pytest.raises(ValueError, match="damaged there"):
        image_source.read(0)


@pytest.mark.parametrize("keep", [0, 10, 0.3, 0.999])
def test_a_pack_cut_short_is_an_error(keep, root, tmp_path):
    pack("folder", root, tmp_path / "packs")
    file = tmp_path / "packs" / "train.arrow"
    content = file.read_bytes()
    file.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    with pytest.raises(ValueError, match=r"train.arrow: .*(not a whole pack|damaged).*; pack the data set again"):
        read_index("folder", tmp_path / "packs")


def test_files_that_do_not_belong_together_are_errors(root, tmp_path):
    pack("folder", root, tmp_path / "one")
    pack("folder", root, tmp_path / "other")
    shutil.copy(tmp_path / "other" / "test.arrow", tmp_path / "one" / "test.arrow")
    with pytest.raises(ValueError, match="test.arrow: is of another packing than train.arrow"):
        read_index("folder", tmp_path / "one")
    (tmp_path / "one" / "test.arrow").unlink()
    with pytest.raises(ValueError, match="test.arrow: no such file; train.arrow belongs to it"):
        read_index("folder", tmp_path / "one")


def test_a_pack_of_a_later_format_is_an_error(root, tmp_path):
    index = read_index("folder", root)
    write_packs(tmp_path / "packs", index, dataclasses.replace(describe("folder", root, index), format=2))
    with pytest.raises(ValueError, match="expected a pack of format 1; found 2"):
        read_index("folder", tmp_path / "packs")


def test_another_data_set_or_division_than_packed_is_an_error(root, tmp_path):
    pack("folder", root, tmp_path / "packs")
    with pytest.raises(ValueError, match="was packed with data.dataset=folder; found data.dataset=sysu"):
        read_index("sysu", tmp_path / "packs")
    with pytest.raises(ValueError, match="was packed with data.split_seed=0; found data.split_seed=3"):
        read_index("folder", tmp_path / "packs", split_seed=3)
    read_index("folder", tmp_path / "packs", trial=4)  # means nothing here


def add(root: Path) -> None:
    first = next(root.glob("visible/*/*.jpg"))
    shutil.copy(first, first.with_name("c9_new.jpg"))


def remove(root: Path) -> None:
    next(root.glob("infrared/*/*.jpg")).unlink()


def change(root: Path) -> None:
    first = next(root.glob("visible/*/*.jpg"))
    first.write_bytes(first.read_bytes() + b"x")


def touch(root: Path) -> None:
    os.utime(next(root.glob("visible/*/*.jpg")), (1, 1))


def relabel(root: Path) -> None:
    for folder in ("visible", "infrared"):
        (root / folder / "0002").rename(root / folder / "0077")


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (add, "1 images were added, removed or listed otherwise"),
        (remove, "1 images were added, removed or listed otherwise"),
        (change, "was changed"),
        (touch, "was changed"),
        (relabel, "images were added, removed or listed otherwise"),
    ],
)
def test_a_pack_older_than_its_folder_is_an_error(edit, reason, root, tmp_path):
    pack("folder", root, tmp_path / "packs")
    edit(root)
    with pytest.raises(
        ValueError, match=rf"packs: is out of date: since {root} was packed, .*{reason}.*; pack it again"
    ):
        read_index("folder", tmp_path / "packs")
    pack("folder", root, tmp_path / "packs")
    read_index("folder", tmp_path / "packs")


# ---------------------------------------------------------------- writing


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_data_sets_own_folder_is_no_place_for_packs(root):
    with pytest.raises(ValueError, match="expected a folder of its own for the packs"):
        pack("folder", root, root)
    assert not is_packed(root)


def test_an_image_that_vanishes_meanwhile_leaves_the_earlier_packs_whole(root, tmp_path, monkeypatch):
    index = pack("folder", root, tmp_path / "packs")
    before = contents(tmp_path / "packs")
    vanishing = Path(index["path"].iloc[-1])
    monkeypatch.setattr("pipeline.datasets.pack.check_disk_space", lambda folder, needed: vanishing.unlink())
    with pytest.raises(FileNotFoundError, match=vanishing.name):
        write_packs(tmp_path / "packs", index, describe("folder", root, index))
    assert contents(tmp_path / "packs") == before


def test_a_disc_without_room_is_an_error_before_anything_is_written(root, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: shutil._ntuple_diskusage(10**6, 10**6, 1000))
    with pytest.raises(ValueError, match=r"packs: expected 0 MB of free disk for the packs; found 0 MB"):
        pack("folder", root, tmp_path / "packs")
    assert list((tmp_path / "packs").iterdir()) == []


@pytest.mark.multiprocess
def test_a_disc_that_fills_leaves_the_earlier_packs_whole_and_nothing_else(root, tmp_path):
    """A limit on the size of files stands for the disk: the system refuses the write in the same way."""
    pack("folder", root, tmp_path / "packs")
    before = contents(tmp_path / "packs")
    command = [sys.executable, "-m", "pipeline.prepare", "--dataset", "folder", "--root", str(root)]
    limit = 40_000

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    ended = subprocess.run(
        [*command, "--pack", str(tmp_path / "packs")], capture_output=True, text=True, preexec_fn=limited
    )
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith(f"error: [Errno {errno.EFBIG}]")
    assert contents(tmp_path / "packs") == before


def test_splits_of_an_earlier_packing_do_not_stay(roots, tmp_path):
    index = pack("sysu", roots["sysu"], tmp_path / "packs")
    assert pack_files(tmp_path / "packs")["val"].exists()
    fewer = index[index["split"] != "val"]
    write_packs(tmp_path / "packs", fewer, describe("sysu", roots["sysu"], fewer))
    assert not pack_files(tmp_path / "packs")["val"].exists()
    assert len(Packs(tmp_path / "packs").index) == len(fewer)


def test_packs_of_another_data_set_division_or_source_are_never_replaced(root, roots, tmp_path):
    packs = tmp_path / "packs"
    index = pack("folder", root, packs)
    before, mine = contents(packs), describe("folder", root, index)
    other = {"splitting": usual_splitting("folder") | {"split_seed": 3}}
    for description, message in (
        (dataclasses.replace(mine, **other), r"made with data\.split_seed=0; found data\.split_seed=3; choose another"),
        (
            dataclasses.replace(mine, source=str(roots["folder"])),
            rf"made with data\.root={root}; found data\.root={roots['folder']}; choose another folder or remove it",
        ),
        (
            dataclasses.replace(mine, dataset="llcm", splitting={}),
            r"made with data\.dataset=folder; found data\.dataset=llcm",
        ),
    ):
        with pytest.raises(ValueError, match=message) as error:
            write_packs(packs, index, description)
        assert "\n" not in str(error.value) and contents(packs) == before
    (packs / "train.arrow").write_bytes(b"damaged")  # the test split still says whose they are
    with pytest.raises(ValueError, match="made with data.dataset=folder"):
        write_packs(packs, index, dataclasses.replace(mine, dataset="llcm", splitting={}))
    pack("folder", root, packs)
    read_index("folder", packs)
