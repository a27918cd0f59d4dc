from pathlib import Path

import pytest

from pipeline.batch import Modality
from pipeline.datasets.regdb import read_index

# Identities of the splits of trial 1; trial 2 has them the other way round. Labels start at 0 in each list.
TRAIN, TEST = (1, 30), (2, 412)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "idx").mkdir()
    for trial, splits in ((1, {"train": TRAIN, "test": TEST}), (2, {"train": TEST, "test": TRAIN})):
        for split, identities in splits.items():
            for stem in ("visible", "thermal"):
                lines = []
                for label, identity in enumerate(identities):
                    for image in range(3):
                        path = Path(stem.capitalize(), str(identity), f"male_back_{stem[0]}_{image:05d}_{identity}.bmp")
                        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
                        (tmp_path / path).touch()
                        lines.append(f"{path} {label}")
                (tmp_path / "idx" / f"{split}_{stem}_{trial}.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def edit(file: Path, old: str, new: str) -> None:
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def test_index(root):
    index = read_index(root, 1)
    assert len(index) == 2 * 4 * 3
    assert set(index[index["split"] == "train"]["identity"]) == set(TRAIN)
    assert set(index[index["split"] == "test"]["identity"]) == set(TEST)
    for row in index.itertuples():
        path = Path(row.path)
        assert path.is_absolute() and path.is_file()
        assert path.parent.name == str(row.identity)
        thermal = path.parent.parent.name == "Thermal"
        assert row.modality == (Modality.INFRARED if thermal else Modality.VISIBLE)
        assert row.camera == (2 if thermal else 1)


def test_trials_differ(root):
    assert set(read_index(root, 2).query("split == 'train'")["identity"]) == set(TEST)


def test_labels_stay_distinct_where_folders_have_no_number(root):
    for stem in ("Visible", "Thermal"):
        for identity in (*TRAIN, *TEST):
            (root / stem / str(identity)).rename(root / stem / f"person{identity}")
    for file in (root / "idx").iterdir():
        file.write_text(file.read_text().replace("Visible/", "Visible/person").replace("Thermal/", "Thermal/person"))
    index = read_index(root, 1)
    owners = index.assign(folder=[Path(path).parent.name for path in index["path"]])
    assert owners.groupby("identity")["folder"].nunique().max() == 1
    assert owners.groupby("folder")["identity"].nunique().max() == 1
    assert set(index[index["split"] == "train"]["identity"]) == {0, 1}


@pytest.mark.parametrize("label", [1, 2])
def test_warns_where_labels_and_folders_disagree(root, label):
    file = root / "idx" / "train_thermal_1.txt"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0][:-1] + str(label), *lines[1:]]))
    with pytest.warns(UserWarning, match="expected one folder for each label; found .*taken from the labels"):
        index = read_index(root, 1)
    assert set(index.query("split == 'train'")["identity"]) == {0, 1, label}


@pytest.mark.parametrize("trial", [0, 11, -1])
def test_raises_for_a_wrong_trial(root, trial):
    with pytest.raises(ValueError, match=f"data.trial: RegDB has the splits 1 to 10; found {trial}"):
        read_index(root, trial)


def test_raises_for_a_missing_list(root):
    with pytest.raises(FileNotFoundError, match="train_visible_3.txt: no such file"):
        read_index(root, 3)


def test_raises_for_a_missing_folder(root):
    (root / "Thermal").rename(root / "thermal images")
    with pytest.raises(FileNotFoundError, match="RegDB has folders Thermal, missing here; found folders: Visible, idx"):
        read_index(root, 1)


def test_names_the_first_missing_image_and_the_count(root):
    images = sorted((root / "Thermal" / "412").iterdir())
    for image in images[1:]:
        image.unlink()
    with pytest.raises(FileNotFoundError, match=f"2 of the 6 images .*test_thermal_1.txt .*{images[1].name}"):
        read_index(root, 1)
    images[0].unlink()
    (root / "Thermal" / "412").rmdir()
    with pytest.raises(FileNotFoundError, match=f"3 of the 6 images .*test_thermal_1.txt .*{images[0].name}"):
        read_index(root, 1)


@pytest.mark.parametrize("line", ["Visible/1/x.bmp", "Visible/1/x.bmp one", "Visible/1/x.bmp -1", "7"])
def test_raises_for_a_wrong_line(root, line):
    file = root / "idx" / "test_visible_1.txt"
    file.write_text(file.read_text() + "\n" + line + "\n")
    with pytest.raises(ValueError, match=r"test_visible_1.txt:8: expected `path label`"):
        read_index(root, 1)


def test_raises_for_an_empty_list(root):
    (root / "idx" / "test_visible_1.txt").write_text("\n")
    with pytest.raises(ValueError, match="test_visible_1.txt: expected lines `path label`; found none"):
        read_index(root, 1)


def test_raises_for_an_image_listed_twice(root):
    file = root / "idx" / "test_visible_1.txt"
    file.write_text(file.read_text() + file.read_text().splitlines()[0])
    with pytest.raises(ValueError, match="1 images are listed twice; the first is .*00000_2.bmp"):
        read_index(root, 1)


def test_raises_for_identities_in_train_and_test(root):
    for stem in ("visible", "thermal"):
        (root / "idx" / f"test_{stem}_1.txt").write_text((root / "idx" / f"train_{stem}_1.txt").read_text())
    with pytest.raises(ValueError, match="2 identities are in train and in test; the first is 1"):
        read_index(root, 1)
