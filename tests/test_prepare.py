import json
import shutil

import numpy as np
import pandas as pd
import pytest

from pipeline import prepare
from pipeline.batch import Modality
from pipeline.config import load_config
from pipeline.datasets.published import IDENTITIES, published_images
from pipeline.datasets.synthetic import MARKER, generate
from pipeline.datasets.sysu import VISIBLE_CAMERAS


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    root = tmp_path_factory.mktemp("sysu") / "set"
    generate("sysu", root, identities=10, images_per_camera=4, seed=0, workers=1)
    return root


@pytest.fixture()
def root(clean, tmp_path):
    return shutil.copytree(clean, tmp_path / "set")


def run(*words):
    with pytest.raises(SystemExit) as ended:
        prepare.main([str(word) for word in words])
    return ended.value.code


def test_a_clean_set_is_usable_and_its_table_counts_every_picture(clean, tmp_path, capsys):
    assert run("--dataset", "sysu", "--root", clean, "--strict", "--json", tmp_path / "a.json") == 0
    printed = capsys.readouterr().out
    assert "usable, 0 errors, 0 warnings" in printed and "expected" not in printed
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["usable"] and found["problems"] == []
    for row in found["counts"]:
        assert row["expected"] is None
    pictures = sum(1 for _ in clean.glob("cam*/*/*.jpg"))
    assert sum(row["images"] for row in found["counts"]) == pictures


def test_every_bad_picture_is_named_and_makes_it_unusable(root, capsys):
    bad = sorted(root.glob("cam*/*/*.jpg"))[::25]
    for number, path in enumerate(bad):
        path.write_bytes(path.read_bytes()[:300] if number % 2 else b"")
    assert run("--dataset", "sysu", "--root", root) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("error:")]
    assert len(lines) == len(bad)
    for path in bad:
        assert sum(str(path) in line for line in lines) == 1


def test_missing_permutations_are_a_warning_that_strict_takes_for_an_error(root, capsys):
    (root / "exp" / "rand_perm_cam.mat").unlink()
    assert run("--dataset", "sysu", "--root", root) == 0
    printed = capsys.readouterr().out
    assert "rand_perm_cam.mat: no such file" in printed and "0 errors, 1 warnings" in printed
    assert run("--dataset", "sysu", "--root", root, "--strict") == 1
    assert run("--dataset", "sysu", "--root", root, "evaluation.gallery_rule=official") == 1
    assert "error: evaluation: " in capsys.readouterr().out


def test_an_incomplete_copy_is_found_by_the_published_numbers_and_the_permutations(root, capsys):
    (root / MARKER).unlink()  # generated sets have numbers of their own
    next(root.glob("cam1/*/0004.jpg")).unlink()
    run("--dataset", "sysu", "--root", root)
    printed = capsys.readouterr().out
    assert "warning: train: expected 296 identities; found" in printed
    assert "camera 1: expected 4721 images; found" in printed


def test_too_few_images_of_an_identity_are_counted(clean, capsys):
    assert run("--dataset", "sysu", "--root", clean, "batch.images_per_modality=20") == 0
    printed = capsys.readouterr().out
    assert "training identities (first: " in printed and "expected 20 visible images or more" in printed


def test_an_identity_in_two_splits_is_an_error():
    settings = load_config([])
    index = pd.DataFrame(
        {"identity": [1, 1, 2, 2], "modality": [0, 1, 0, 1], "split": ["train", "test", "train", "train"]}
    )
    found = [str(problem) for problem in prepare.check_identities(index, settings) if problem.level == "error"]
    assert found == ["error: identity 1: expected in one split; found in test and train"]


def test_a_missing_folder_is_one_line(tmp_path, capsys):
    assert run("--dataset", "sysu", "--root", tmp_path / "none") == 2
    assert str(tmp_path / "none") in capsys.readouterr().err


def test_the_published_numbers_are_those_of_the_true_shape(shared_folder):
    shape = pd.read_csv(shared_folder / "protocols" / "sysu_shape.csv")
    shape = shape[shape["split"] != "none"]
    for (split, modality, camera), count in published_images("sysu").items():
        assert shape[f"cam{camera}"][shape["split"] == split].sum() == count
        assert (modality == Modality.VISIBLE) == (camera in VISIBLE_CAMERAS)
    assert shape["split"].value_counts().to_dict() == IDENTITIES["sysu"]
    rows = [
        (row.id, camera, row.split)
        for row in shape.itertuples()
        for camera in range(1, 7)
        for _ in range(getattr(row, f"cam{camera}"))
    ]
    index = pd.DataFrame(rows, columns=["identity", "camera", "split"])
    index["modality"] = np.where(index["camera"].isin(VISIBLE_CAMERAS), 0, 1)
    assert list(prepare.check_counts(index, load_config(["data.root=nowhere"]))) == []
    fewer = list(prepare.check_counts(index[1:], load_config(["data.root=nowhere"])))
    assert [str(problem) for problem in fewer] == ["warning: train, camera 1: expected 4721 images; found 4720"]
