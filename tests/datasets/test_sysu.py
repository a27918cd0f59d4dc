from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from pipeline.batch import Modality
from pipeline.datasets.sysu.reading import read_index

SPLIT_FILES = {"train": "1,2", "val": "10", "test": "3,4"}
# Identity 7 is in no split.
IMAGES = {(1, 1): 2, (1, 3): 3, (1, 7): 2, (2, 2): 1, (2, 6): 1, (3, 2): 12, (3, 6): 2, (4, 5): 1, (4, 3): 1}
IMAGES |= {(10, 4): 2, (10, 3): 1}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for camera in range(1, 7):
        (tmp_path / f"cam{camera}").mkdir()
    for (identity, camera), count in IMAGES.items():
        camera = 1 if camera == 7 else camera
        folder = tmp_path / f"cam{camera}" / f"{identity:04d}"
        folder.mkdir(exist_ok=True)
        for image in range(1, count + 1):
            (folder / f"{image:04d}.jpg").touch()
    stranger = tmp_path / "cam1" / "0007"
    stranger.mkdir()
    (stranger / "0001.jpg").touch()
    (tmp_path / "exp").mkdir()
    for split, identities in SPLIT_FILES.items():
        (tmp_path / "exp" / f"{split}_id.txt").write_text(identities + "\n")
    return tmp_path


def test_index(root):
    index = read_index(root)
    assert list(index.columns) == ["path", "identity", "camera", "modality", "split"]
    assert list(index.index) == list(range(len(index)))
    assert all(index[column].dtype == np.int64 for column in ("identity", "camera", "modality"))
    assert index.groupby("split")["identity"].unique().map(list).to_dict() == {
        "train": [1, 2],
        "val": [10],
        "test": [3, 4],
    }
    for row in index.itertuples():
        path = Path(row.path)
        assert path.is_absolute() and path.is_file()
        assert path.parent == root / f"cam{row.camera}" / f"{row.identity:04d}"
        assert row.modality == (Modality.INFRARED if row.camera in (3, 6) else Modality.VISIBLE)
    chosen = index[(index["identity"] == 3) & (index["camera"] == 2)]
    assert [Path(path).name for path in chosen["path"]] == [f"{number:04d}.jpg" for number in range(1, 13)]


def test_order_is_that_of_split_modality_identity_camera_and_path(root):
    index = read_index(root)
    keys = [
        (["train", "val", "test"].index(row.split), row.modality, row.identity, row.camera, row.path)
        for row in index.itertuples()
    ]
    assert keys == sorted(keys)
    assert read_index(str(root) + "/./").equals(index)


def test_other_files_are_ignored(root):
    expected = read_index(root)
    for name in ("Thumbs.db", "._0001.jpg", ".DS_Store", "notes.txt"):
        (root / "cam1" / "0001" / name).touch()
    (root / "cam1" / "readme").touch()
    (root / "cam1" / "masks").mkdir()
    assert read_index(root).equals(expected)


def test_split_from_matlab_where_the_text_is_absent(root):
    expected = read_index(root)
    (root / "exp" / "train_id.txt").unlink()
    with pytest.raises(FileNotFoundError, match="expected train_id.txt or train_id.mat; found neither"):
        read_index(root)
    savemat(root / "exp" / "train_id.mat", {"id": np.array([[1, 2]], dtype=np.uint16)})
    assert read_index(root).equals(expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"other": np.array([1])}, "expected a MATLAB file with id; found none"),
        ({"id": np.array([1, 1])}, "identity 1 is listed twice"),
        ({"id": np.array([])}, "expected identities; found none"),
        (b"no MATLAB file", "expected a MATLAB file with id; found none"),
        (b"", "expected a MATLAB file with id; found none"),
        (b"no MATLAB file " * 100, "expected a MATLAB file with id; found none"),
    ],
)
def test_raises_for_a_wrong_matlab_file(root, content, message):
    (root / "exp" / "train_id.txt").unlink()
    file = root / "exp" / "train_id.mat"
    file.write_bytes(content) if isinstance(content, bytes) else savemat(file, content)
    with pytest.raises(ValueError, match=f"train_id.mat: {message}"):
        read_index(root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1,2\n5,x", r"train_id.txt:2: expected comma-separated identities; found 'x'"),
        ("1,-2", r"train_id.txt:1: .* found '-2'"),
        (" \n", "train_id.txt: expected identities; found none"),
        ("1,2,1", "train_id.txt: identity 1 is listed twice"),
        ("1,2,3", "identity 3 is in train and in test"),
    ],
)
def test_raises_for_a_wrong_split_file(root, content, message):
    (root / "exp" / "train_id.txt").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_index(root)


def test_raises_for_a_split_file_that_is_not_text(root):
    (root / "exp" / "train_id.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="train_id.txt:1: expected a text file"):
        read_index(root)


def test_raises_for_a_missing_root(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder; expected the root of SYSU-MM01"):
        read_index(tmp_path / "nowhere")


def test_raises_for_missing_cameras(root):
    for camera in (3, 5):
        (root / f"cam{camera}").rename(root / f"was{camera}")
    with pytest.raises(FileNotFoundError, match="has folders cam3, cam5, missing here; found folders: cam1, cam2"):
        read_index(root)


def test_raises_for_a_camera_without_images(root):
    for image in (root / "cam5").glob("*/*.jpg"):
        image.unlink()
    with pytest.raises(FileNotFoundError, match="cam5: expected folders 0001, 0002"):
        read_index(root)


def test_raises_for_identities_without_images(root):
    (root / "exp" / "val_id.txt").write_text("10,21,20")
    with pytest.raises(
        FileNotFoundError, match=r"2 listed identities have no image in any camera; first: 0020 \(val\)"
    ):
        read_index(root)
