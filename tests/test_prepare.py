import json
import shutil

import numpy as np
import pytest

from dali_ops import reference
from pipeline import prepare, train
from pipeline.datasets.marker import MARKER
from pipeline.datasets.pack import Packs
from pipeline.synthetic.generation import generate


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    root = tmp_path_factory.mktemp("sysu") / "set"
    generate("sysu", root, identities=10, images_per_camera=4, seed=0, workers=1)
    return root


@pytest.fixture()
def root(clean, tmp_path):
    return shutil.copytree(clean, tmp_path / "set")


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        prepare.main([str(argument) for argument in arguments])
    return ended.value.code


def test_a_clean_set_is_usable_and_its_table_counts_every_image(clean, tmp_path, capsys):
    assert run("--dataset", "sysu", "--root", clean, "--strict", "--json", tmp_path / "a.json") == 0
    printed = capsys.readouterr().out
    assert "usable, 0 errors, 0 warnings" in printed and "expected" not in printed
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["usable"] and found["problems"] == []
    assert all(row["images_expected"] is None and row["identities_expected"] is None for row in found["counts"])
    images = sum(1 for _ in clean.glob("cam*/*/*.jpg"))
    assert sum(row["images"] for row in found["counts"] if row["camera"] != "all") == images
    assert sum(row["images"] for row in found["counts"] if row["camera"] == "all") == images


def test_every_bad_image_is_named_and_makes_it_unusable(root, capsys):
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


def test_a_missing_folder_is_one_line(tmp_path, capsys):
    assert run("--dataset", "sysu", "--root", tmp_path / "none") == 2
    assert str(tmp_path / "none") in capsys.readouterr().err


def test_a_usable_set_is_packed_and_trains_from_there(root, tmp_path, capsys):
    packs = tmp_path / "packs"
    assert run("--dataset", "sysu", "--root", root, "--pack", packs) == 0
    assert f"{packs}: packed " in capsys.readouterr().out
    assert {file.name for file in packs.iterdir()} == {"train.arrow", "val.arrow", "test.arrow", "rand_perm_cam.mat"}
    shutil.rmtree(root)
    assert run("--dataset", "sysu", "--root", packs, "--strict", "evaluation.gallery_rule=official") == 0
    assert "usable, 0 errors, 0 warnings" in capsys.readouterr().out
    assert run("--dataset", "sysu", "--root", packs, "--pack", tmp_path / "again") == 2
    assert "is packed already" in capsys.readouterr().err


def test_an_unusable_set_is_not_packed_unless_training_replaces_what_is_bad(root, tmp_path, capsys):
    train = (root / "exp" / "train_id.txt").read_text().split(",")[0]
    bad = next((root / "cam4" / f"{int(train):04d}").iterdir())
    bad.write_bytes(b"text")
    assert run("--dataset", "sysu", "--root", root, "--pack", tmp_path / "packs") == 1
    assert f"{tmp_path / 'packs'}: not packed" in capsys.readouterr().out and not (tmp_path / "packs").exists()
    assert (
        run("--dataset", "sysu", "--root", root, "--pack", tmp_path / "packs", "loader.on_corrupt_image=replace") == 0
    )
    assert f"warning: {bad}: expected an image" in capsys.readouterr().out
    assert run("--dataset", "sysu", "--root", tmp_path / "packs") == 1
    assert "train.arrow/cam4/" in capsys.readouterr().out


def test_a_damaged_pack_is_named_image_by_image(root, tmp_path, capsys):
    run("--dataset", "sysu", "--root", root, "--pack", tmp_path / "packs")
    whole = (tmp_path / "packs" / "test.arrow").read_bytes()
    test = int((root / "exp" / "test_id.txt").read_text().split(",")[0])
    images = sorted(root.glob(f"cam*/{test:04d}/*.jpg"))[:3]
    for image in images:
        place = whole.index(image.read_bytes()) + 99
        whole = whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :]
    (tmp_path / "packs" / "test.arrow").write_bytes(whole)
    capsys.readouterr()
    assert run("--dataset", "sysu", "--root", tmp_path / "packs") == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("error:")]
    assert len(lines) == 3 and all("the pack is damaged there (checksum)" in line for line in lines)


def test_many_problems_are_cut_short_on_the_terminal_and_all_in_the_file(root, tmp_path, capsys):
    bad = sorted(root.glob("cam*/*/*.jpg"))[:60]
    for path in bad:
        path.write_bytes(b"")
    assert run("--dataset", "sysu", "--root", root, "--json", tmp_path / "a.json") == 1
    printed = capsys.readouterr().out
    assert printed.count("the file is empty") == 40 and "error: 20 more; --json FILE lists them all" in printed
    assert len(json.loads((tmp_path / "a.json").read_text())["problems"]) >= 60


def test_a_resized_pack_holds_the_pixels_of_the_evaluation(root, tmp_path, capsys):
    size = ["augment.height=40", "augment.width=24"]
    assert run("--dataset", "sysu", "--root", root, "--resized", *size) == 2
    assert "--resized: expected --pack DIR with it; found none" in capsys.readouterr().err
    assert run("--dataset", "sysu", "--root", root, "--pack", tmp_path / "packs", "--resized", *size) == 0
    assert "images resized to 40 x 24: " in capsys.readouterr().out
    assert run("--dataset", "sysu", "--root", tmp_path / "packs", "--strict", *size) == 0
    packs = Packs(tmp_path / "packs")
    modality = packs.index["modality"]
    for row in (0, len(modality) - 1, int(np.flatnonzero(modality)[0])):
        (path,) = root.glob(packs.index["path"][row].split(".arrow/")[1])
        family = "infrared" if modality[row] else "visible"
        expected = reference.resize(reference.decode(path, family), 40, 24)
        assert packs.image(row).shape == expected.shape
        difference = np.abs(packs.image(row).astype(int) - expected)
        assert difference.mean() < 1 and difference.max() <= 8  # PIL rounds between its two passes
    bad = next(root.glob("cam3/*/*.jpg"))
    bad.write_bytes(b"text")
    arguments = ["--dataset", "sysu", "--root", root, "--pack", tmp_path / "packs", "--resized"]
    assert run(*arguments, "loader.on_corrupt_image=replace") == 1
    assert f"error: {bad}: expected an image" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("batch.ids_per_batch=50", "batch.ids_per_batch: expected at most the number of training identities"),
        ("batch.modalities=[visible,infrared]", "losses.cross.pairs"),
        ("model.backbone=vgg11", "model.last_stride: 1 is for timm's modules"),
        ("model.weights=missing.pth", "model.weights: no such file: missing.pth"),
        ("data.train_splits=[val]", "data.train_splits: no images in val"),
        ("derive.visible=[nonsense]", "nonsense"),
    ],
)
def test_what_is_called_usable_starts_a_training_and_nothing_else_does(
    argument, message, people, tiny, tmp_path, capfd
):
    arguments = ["configs/folder.yaml", *tiny, f"data.root={people}", f"output={tmp_path}", "name=a"]
    arguments += ["train.epochs=1", "train.steps_per_epoch=1"]
    assert run(*arguments, argument) == 1
    (line,) = [line for line in capfd.readouterr().out.splitlines() if line.startswith("error: ")]
    reason = line.removeprefix("error: training: ")
    assert message in reason
    with pytest.raises(SystemExit) as ended:
        train.main([*arguments, argument])
    assert ended.value.code == 2 and f"error: {reason} (" in capfd.readouterr().err
    assert run(*arguments) == 0
    assert "usable, 0 errors" in capfd.readouterr().out


def test_a_training_with_the_arguments_of_a_usable_set_starts(people, tiny, tmp_path):
    arguments = ["configs/folder.yaml", *tiny, f"data.root={people}", f"output={tmp_path}", "name=a"]
    arguments += ["train.epochs=1", "train.steps_per_epoch=1"]
    assert run(*arguments) == 0
    train.main(arguments)
    assert (tmp_path / "a" / "model.safetensors").exists()


def test_the_defaults_only_warn_without_a_configuration(people, capsys):
    assert run("--dataset", "folder", "--root", people) == 0
    printed = capsys.readouterr().out
    assert "warning: training with the defaults: batch.ids_per_batch: expected at most the number of" in printed
    assert run("configs/folder.yaml", f"data.root={people}", "model.pretrained=false") == 1
    assert "error: training: batch.ids_per_batch: expected at most" in capsys.readouterr().out
    assert run("--dataset", "folder", "--root", people, "--strict", "batch.ids_per_batch=4") == 0


def test_a_data_set_needs_a_folder(capsys):
    assert run("--dataset", "folder") == 2
    assert "expected --root DIR, data.root=DIR or a configuration file" in capsys.readouterr().err


def test_options_may_stand_between_the_arguments(clean, tmp_path, capsys):
    arguments = ["configs/sysu.yaml", "--pack", tmp_path / "packs", f"data.root={clean}", "--strict", "--json"]
    assert run(*arguments, tmp_path / "a.json", "batch.ids_per_batch=4", "model.pretrained=false") == 0
    assert (tmp_path / "packs" / "train.arrow").exists() and (tmp_path / "a.json").exists()


def test_another_data_sets_packs_are_kept_and_nothing_is_checked_before(clean, people, tmp_path, capsys):
    packs = tmp_path / "packs"
    assert run("--dataset", "sysu", "--root", clean, "--pack", packs) == 0
    before = {file.name: file.read_bytes() for file in packs.iterdir()}
    capsys.readouterr()
    assert run("--dataset", "folder", "--root", people, "--pack", packs) == 2
    printed = capsys.readouterr()
    assert "holds packs made with data.dataset=sysu; found data.dataset=folder; choose another" in printed.err
    assert not printed.out and {file.name: file.read_bytes() for file in packs.iterdir()} == before
    assert run("--dataset", "sysu", "--root", clean, "--pack", packs) == 0
