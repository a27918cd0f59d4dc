import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.io import loadmat, savemat

from pipeline.datasets.listing import Record, build_index
from pipeline.evaluation import feature_files
from pipeline.evaluation.feature_files import prepare_saving, read_features, read_index_file, save_features
from pipeline.settings import DataSettings

ROOT = "/data/set"
DATA = DataSettings(dataset="sysu", root=ROOT)
WIDTH = 3


@pytest.fixture(scope="module")
def index() -> pd.DataFrame:
    """Identities 1 (train), 2 and 5 (test); number of images = identity, in cameras 1, 2 (not of 5), 3 and 6."""
    records = [
        Record(f"{ROOT}/cam{camera}/{identity:04d}/{image:04d}.jpg", identity, camera, int(camera in (3, 6)), split)
        for identity, split in ((1, "train"), (2, "test"), (5, "test"))
        for camera in (1, 2, 3, 6)
        if (identity, camera) != (5, 2)
        for image in range(1, identity + 1)
    ]
    return build_index(records, Path(ROOT))


@pytest.fixture(scope="module")
def tested(index) -> np.ndarray:
    return np.flatnonzero(index["split"] == "test")


@pytest.fixture
def table(index) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(len(index), WIDTH)).astype(np.float32)


def assert_filled(found: torch.Tensor, table: np.ndarray, rows: np.ndarray) -> None:
    expected = np.zeros_like(table)
    expected[rows] = table[rows]
    assert found.numpy().dtype == table.dtype
    np.testing.assert_array_equal(found.numpy(), expected)


# ---------------------------------------------------------------- NumPy


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_what_is_saved_is_read_to_the_last_bit(index, tested, table, kind, tmp_path):
    table = table.astype(kind)
    file, origin = tmp_path / "features.npz", {"config": "0123abcd", "flip": True, "epoch": 3}
    assert save_features(file, torch.from_numpy(table[tested]), index, tested, DATA, origin) == [file]
    found, read = read_features(file, index, tested, DATA)
    assert_filled(found, table, tested)
    assert read == origin and [path.name for path in tmp_path.iterdir()] == ["features.npz"]


@pytest.mark.parametrize("spelling", ["relative", "./relative", "absolute", "index", "index32"])
def test_a_row_is_placed_by_its_path_or_its_number_in_any_order(index, tested, table, spelling, tmp_path):
    rows = np.random.default_rng(1).permutation(len(index))  # all of them: features of the training images do no harm
    paths = index["path"].to_numpy()[rows]
    names = {
        "relative": {"path": [os.path.relpath(path, ROOT) for path in paths]},
        "./relative": {"path": ["./" + os.path.relpath(path, ROOT) for path in paths]},
        "absolute": {"path": paths.astype(str)},
        "index": {"index": rows},
        "index32": {"index": rows.astype(np.uint32)},
    }
    np.savez(tmp_path / "f.npz", features=table[rows], **names[spelling])
    found, origin = read_features(tmp_path / "f.npz", index, tested, DATA)
    np.testing.assert_array_equal(found.numpy(), table)
    assert origin == {}


@pytest.mark.parametrize("kind", [np.float16, np.int64, ">f4", np.uint8])
def test_real_numbers_of_any_type_will_do(index, tested, table, kind, tmp_path):
    np.savez(tmp_path / "f.npz", features=(10 * abs(table)).astype(kind), index=np.arange(len(index)))
    found, _ = read_features(tmp_path / "f.npz", index, tested, DATA)
    np.testing.assert_array_equal(found.numpy(), (10 * abs(table)).astype(kind).astype(np.float64))


def spoil(entries: dict, tested: np.ndarray, how: str) -> dict:
    features, path = entries["features"], entries["path"]
    broken = features.copy()
    broken[[0, 3], 1] = np.nan, np.inf
    spoiled = {
        "missing": {"features": features[2:], "path": path[2:]},
        "twice": {"path": np.r_[path[1:2], path[1:]]},
        "unknown": {"path": np.r_[["cam9/x.jpg"], path[1:]]},
        "not finite": {"features": broken},
        "flat": {"features": features.ravel()},
        "scalar": {"features": np.float32(1)},
        "empty": {"features": features[:0], "path": path[:0]},
        "complex": {"features": features.astype(complex)},
        "text": {"features": features.astype(str)},
        "fewer paths": {"path": path[1:]},
        "paths of bytes": {"path": path.astype(bytes)},
        "objects": {"path": path.astype(object)},
        "origin": {feature_files.ORIGIN: "what"},
    }
    if how == "negative":
        return {"features": features, "index": np.r_[[-1], tested[1:]]}
    if how == "beyond":
        return {"features": features, "index": np.r_[[999], tested[1:]]}
    if how == "fractions":
        return {"features": features, "index": tested + 0.5}
    if how == "no names":
        return {"features": features}
    if how == "no features":
        return {"path": path}
    return entries | spoiled[how]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "2 images tested have no features; the first is /data/set/cam1/0002/0001.jpg"),
        ("twice", "1 images have features more than once; the first is /data/set/cam1/0002/0002.jpg"),
        (
            "unknown",
            r"1 of 23 paths are no image of the data set in /data/set; the first is 'cam9/x.jpg'; .*'cam1/0001/",
        ),
        ("not finite", "features: 2 of 23 rows hold values that aren't finite"),
        ("flat", r"one for each of the 69 rows of features; found <U18 of shape \(23,\)"),
        ("scalar", "one for each of the 0 rows"),
        ("empty", r"features: expected \(N, D\) real numbers; found float32 of shape \(0, 3\)"),
        ("complex", r"expected \(N, D\) real numbers; found complex128"),
        ("text", r"expected \(N, D\) real numbers; found <U32"),
        ("fewer paths", r"expected N texts `path`, .* found <U\d+ of shape \(22,\)"),
        ("paths of bytes", r"found \|S\d+ of shape \(23,\)"),
        ("objects", "expected an .npz of arrays of numbers and texts; found none .*Object arrays cannot be loaded"),
        ("origin", "pipeline_run: expected what `--save-features` writes"),
        ("negative", "index: expected rows of the index, 0 to 26; found -1"),
        ("beyond", "index: expected rows of the index, 0 to 26; found 999"),
        ("fractions", "N whole numbers `index`, one for each of the 23 rows of features; found float64"),
        ("no names", "expected N texts `path`, or N whole numbers `index` with the features; found neither"),
        ("no features", r"expected an entry `features`, \(N, D\) numbers; found path"),
    ],
)
def test_a_file_that_is_not_as_described_is_one_line(index, tested, table, how, message, tmp_path):
    paths = np.array([os.path.relpath(path, ROOT) for path in index["path"].iloc[tested]])
    np.savez(tmp_path / "f.npz", **spoil({"features": table[tested], "path": paths}, tested, how))
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path / 'f.npz'}: ") + ".*" + message) as raised:
        read_features(tmp_path / "f.npz", index, tested, DATA)
    assert "\n" not in str(raised.value)


class Malicious:
    """Its unpickling makes the file `path`."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_nothing_is_unpickled(index, tested, tmp_path):
    np.savez(tmp_path / "f.npz", features=np.array([Malicious(tmp_path / "harm")], dtype=object))
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        read_features(tmp_path / "f.npz", index, tested, DATA)
    assert not (tmp_path / "harm").exists()


def test_other_files_are_errors_in_one_line(index, tested, table, tmp_path):
    np.savez(tmp_path / "whole.npz", features=table, index=np.arange(len(index)))
    whole = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    at = whole.index(b"NUMPY") + 150
    (tmp_path / "damaged.npz").write_bytes(whole[:at] + b"XXXX" + whole[at + 4 :])
    (tmp_path / "text.npz").write_text("features")
    (tmp_path / "empty.npz").touch()
    with open(tmp_path / "array.npz", "wb") as opened:
        np.save(opened, table)
    for name in ("cut", "damaged", "text", "empty", "array"):
        with pytest.raises(ValueError, match=rf"{name}\.npz: expected an \.npz of arrays") as raised:
            read_features(tmp_path / f"{name}.npz", index, tested, DATA)
        assert "\n" not in str(raised.value)
    for name, message in (("none.npz", "no such file"), ("none.csv", "none.csv: expected NAME.npz, or a folder of")):
        with pytest.raises(FileNotFoundError, match=message):
            read_features(tmp_path / name, index, tested, DATA)


def test_a_file_is_replaced_whole_or_not_at_all(index, tested, table, tmp_path, monkeypatch):
    file = tmp_path / "f.npz"
    save_features(file, torch.from_numpy(table[tested]), index, tested, DATA, {})
    before = file.read_bytes()

    def cut(opened, **arrays):
        opened.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", cut)
    with pytest.raises(OSError, match="no space"):
        save_features(file, torch.from_numpy(table[tested] + 1), index, tested, DATA, {})
    assert file.read_bytes() == before


def test_where_features_can_be_saved_is_checked_beforehand(tmp_path):
    prepare_saving(tmp_path / "new" / "f.npz", "regdb")
    prepare_saving(tmp_path / "new" / "f.mat", "sysu")
    assert (tmp_path / "new").is_dir()
    with pytest.raises(
        ValueError, match=r"f\.mat: expected features of regdb as NAME\.npz \(\.mat files are SYSU-MM01's\)"
    ):
        prepare_saving(tmp_path / "f.mat", "regdb")
    with pytest.raises(ValueError, match=r"f\.csv: expected NAME\.npz to save features, or NAME\.mat"):
        prepare_saving(tmp_path / "f.csv", "sysu")


# ---------------------------------------------------------------- MATLAB


@pytest.fixture
def written(index, tested, table, tmp_path) -> Path:
    files = save_features(tmp_path / "net.mat", torch.from_numpy(table[tested]), index, tested, DATA, {})
    assert [file.name for file in files] == [f"net_cam{camera}.mat" for camera in range(1, 7)]
    return tmp_path


def test_the_cells_are_those_of_the_official_code(index, table, written):
    cells = loadmat(written / "net_cam3.mat")["feature"].ravel()
    assert len(cells) == 5 and [len(cell) for cell in cells] == [0, 2, 0, 0, 5] and cells[1].dtype == np.float32
    for image in (1, 5):
        row = index.index[index["path"] == f"{ROOT}/cam3/0005/{image:04d}.jpg"][0]
        np.testing.assert_array_equal(cells[4][image - 1], table[row])
    assert all(cell.size == 0 for cell in loadmat(written / "net_cam4.mat")["feature"].ravel())


@pytest.mark.parametrize("place", ["", "net.mat", "net_cam1.mat"])
def test_what_matlab_files_hold_is_read_to_the_last_bit(index, tested, table, written, place):
    found, origin = read_features(written / place, index, tested, DATA)
    assert_filled(found, table, tested)
    assert origin == {}


def test_cells_in_a_row_with_people_that_are_not_tested_will_do(index, table, tmp_path):
    for camera in (1, 3):
        cells = np.empty((1, 9), dtype=object)
        for identity in range(1, 10):
            rows = index.query(f"identity == {identity} and camera == {camera}").index
            cells[0, identity - 1] = table[rows].astype(np.float64) if identity in (2, 5) else np.ones((7, 2))
        savemat(tmp_path / f"a_b_cam{camera}.mat", {"feature": cells})
    rows = np.flatnonzero((index["split"] == "test") & index["camera"].isin([1, 3]))
    found, _ = read_features(tmp_path, index, rows, DATA)
    assert_filled(found, table.astype(np.float64), rows)


def test_matlab_files_that_do_not_fit_are_one_line(index, tested, written):
    def refusal(place=written):
        with pytest.raises((ValueError, FileNotFoundError)) as raised:
            read_features(place, index, tested, DATA)
        assert "\n" not in str(raised.value)
        return str(raised.value)

    file = written / "net_cam2.mat"
    cells = loadmat(file)["feature"]
    for wrong, message in (
        (
            cells[1, 0][:1],
            "net_cam2.mat: feature{2}: expected numbers, a row for each of 2 images; found float32 of shape (1,",
        ),
        (np.ones((2, 4)), "net_cam2.mat: feature{2}: expected 3 columns, as before; found 4"),
        (np.full((2, 3), np.nan), "features: 2 of 23 rows hold values that aren't finite"),
        ("two", "a row for each of 2 images; found <U3 of shape (1,)"),
    ):
        cells[1, 0] = wrong
        savemat(file, {"feature": cells})
        assert message in refusal()
    savemat(file, {"feature": cells[:1]})
    assert "feature{2}: expected numbers, a row for each of 2 images; found float64 of shape (0, 0)" in refusal()
    savemat(file, {"feature": np.ones((5, 3))})
    assert "net_cam2.mat: expected feature to be a cell; found float64 numbers" in refusal()
    savemat(file, {"features": cells})
    assert "net_cam2.mat: expected a MATLAB file with feature; found none" in refusal()
    file.write_text("feature")
    assert "net_cam2.mat: expected a MATLAB file with feature; found none" in refusal()
    file.unlink()
    assert "expected the features of camera 2, NAME_cam2.mat; found none" in refusal()
    (written / "other_cam1.mat").touch()
    assert "holds features of net, other; name one, as" in refusal()
    assert "third.mat: expected NAME_cam1.mat ... NAME_cam6.mat; found none" in refusal(written / "third.mat")


# ---------------------------------------------------------------- an index of one's own


def test_an_index_is_read_from_a_csv_in_its_order(tmp_path):
    lines = ["split,path,identity,camera,modality,more", "test,b.jpg,7,0,visible,x", "train,/a.jpg,12,3,1,"]
    (tmp_path / "index.csv").write_text("\n".join(lines))
    index = read_index_file(tmp_path / "index.csv")
    assert index.to_dict("list") == {
        "path": ["b.jpg", "/a.jpg"],
        "identity": [7, 12],
        "camera": [0, 3],
        "modality": [0, 1],
        "split": ["test", "train"],
    }
    assert (index.dtypes[["identity", "camera", "modality"]] == "int64").all()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], r":1: expected the columns path,identity,camera,modality,split; found ''"),
        (["path,identity,camera,modality,split"], ": expected a line for each image; found none"),
        (["path,identity,camera,modality", "a,1,1,0"], ":1: expected the columns path,.*; found"),
        (["path,identity,camera,modality,split", "a,one,1,0,test"], ":2: identity: expected a whole number .*'one'"),
        (["path,identity,camera,modality,split", "a,1,-1,0,test"], ":2: camera: expected a whole number .*'-1'"),
        (["path,identity,camera,modality,split", "a,1,1,2,test"], ":2: modality: expected one of visible, .*'2'"),
        (["path,identity,camera,modality,split", "a,1,1,0,query"], ":2: split: expected one of train, .*'query'"),
        (["path,identity,camera,modality,split", ",1,1,0,test"], ":2: path: expected text; found none"),
        (["path,identity,camera,modality,split", "a,1,1,0,test", "", "a,2,1,0,test"], ":4: .*once; found a again"),
    ],
)
def test_an_index_that_is_not_as_described_is_one_line(lines, message, tmp_path):
    (tmp_path / "index.csv").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=f"index.csv{message}"):
        read_index_file(tmp_path / "index.csv")
