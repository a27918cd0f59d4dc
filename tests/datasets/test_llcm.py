from pathlib import Path

import pytest

from pipeline.batch import Modality
from pipeline.datasets.llcm import read_index

TRAIN, TEST = (3, 900), (1, 12)
TEST_CAMERAS = {"vis": {1: (1, 5), 12: (3,)}, "nir": {1: (2,), 12: (9,)}}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "idx").mkdir()
    for stem in ("vis", "nir"):
        lines = []
        for label, identity in enumerate(TRAIN):
            for camera in (1, 7):
                path = Path(stem, f"{identity:04d}", f"{identity:04d}_c{camera:02d}_s180_f7010_{stem}.jpg")
                (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / path).touch()
                lines.append(f"{path} {label}")
        (tmp_path / "idx" / f"train_{stem}.txt").write_text("\n".join(lines))
        for identity, cameras in TEST_CAMERAS[stem].items():
            for camera in cameras:
                folder = tmp_path / f"test_{stem}" / f"cam{camera}" / f"{identity:04d}"
                folder.mkdir(parents=True)
                for image in range(2):
                    (folder / f"{identity:04d}_c0_{image}.jpg").touch()
    (tmp_path / "idx" / "test_id.txt").write_text("12,1")
    return tmp_path


def test_index(root):
    index = read_index(root)
    assert index.groupby("split").size().to_dict() == {"train": 8, "test": 10}
    assert set(index.query("split == 'train'")["identity"]) == set(TRAIN)
    assert set(index.query("split == 'train'")["camera"]) == {1, 7}
    for row in index.itertuples():
        path = Path(row.path)
        assert path.is_absolute() and path.is_file()
        assert int(path.parent.name) == row.identity
        assert row.modality == (Modality.INFRARED if "nir" in row.path[len(str(root)) :] else Modality.VISIBLE)
    test = index[index["split"] == "test"]
    found = {(row.modality, row.identity, row.camera) for row in test.itertuples()}
    assert found == {(0, 1, 1), (0, 1, 5), (0, 12, 3), (1, 1, 2), (1, 12, 9)}
    assert all(Path(row.path).parent.parent.name == f"cam{row.camera}" for row in test.itertuples())


def test_camera_of_a_training_image_without_one_is_0(root):
    folder = root / "vis" / "0003"
    (folder / "0003_c01_s180_f7010_vis.jpg").rename(folder / "0003_music_c.jpg")
    file = root / "idx" / "train_vis.txt"
    file.write_text(file.read_text().replace("0003_c01_s180_f7010_vis.jpg", "0003_music_c.jpg"))
    assert sorted(read_index(root).query("split == 'train' and modality == 0")["camera"]) == [0, 1, 7, 7]


def test_labels_are_moved_above_the_test_identities_where_folders_have_no_number(root):
    for stem in ("vis", "nir"):
        (root / stem / "0003").rename(root / stem / "x3")
        file = root / "idx" / f"train_{stem}.txt"
        file.write_text(file.read_text().replace(f"{stem}/0003/", f"{stem}/x3/"))
    assert set(read_index(root).query("split == 'train'")["identity"]) == {13, 14}


def test_test_identities_that_are_not_listed_are_left_out(root):
    (root / "idx" / "test_id.txt").write_text("12")
    assert set(read_index(root).query("split == 'test'")["identity"]) == {12}


def test_raises_for_test_identities_without_images(root):
    (root / "idx" / "test_id.txt").write_text("1,12,14,13")
    with pytest.raises(FileNotFoundError, match="2 identities of test_id.txt have no image; first: 13"):
        read_index(root)


def test_raises_for_identities_in_train_and_test(root):
    (root / "idx" / "test_id.txt").write_text("1,12,900")
    with pytest.raises(ValueError, match="1 identities are in train and in test; the first is 900"):
        read_index(root)


@pytest.mark.parametrize("name", ["idx", "test_vis", "test_nir"])
def test_raises_for_a_missing_folder(root, name):
    (root / name).rename(root / "elsewhere")
    with pytest.raises(FileNotFoundError, match=f"LLCM has folders {name}, missing here"):
        read_index(root)


@pytest.mark.parametrize("name", ["train_vis.txt", "train_nir.txt", "test_id.txt"])
def test_raises_for_a_missing_list(root, name):
    (root / "idx" / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name}: no such file"):
        read_index(root)


def test_raises_for_missing_images(root):
    (root / "nir" / "0900" / "0900_c07_s180_f7010_nir.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="1 of the 4 images .*train_nir.txt .*0900_c07"):
        read_index(root)


def test_raises_for_a_modality_without_test_images(root):
    for image in (root / "test_nir").glob("*/*/*"):
        image.unlink()
    with pytest.raises(FileNotFoundError, match="test_nir: expected cam<k>/<identity>/ with images"):
        read_index(root)
