"""Training on a data set with bad images, and from packs."""

import shutil

import pandas as pd
import pytest
from safetensors.torch import load_file

from pipeline import evaluate, prepare, train
from pipeline.build import build_index
from tests.forked import fork

SHORT = ["train.epochs=2", "train.steps_per_epoch=4", "train.checkpoint_steps=3"]


@pytest.fixture()
def arguments(tiny, tmp_path):
    return ["configs/folder.yaml", *tiny, *SHORT, f"output={tmp_path}"]


@pytest.fixture()
def damaged(people, tmp_path):
    """A copy in which a third of the training images are bad, in one of three ways, and the test images are good."""
    root = shutil.copytree(people, tmp_path / "damaged")
    settings = train.load_config(["configs/folder.yaml", f"data.root={root}"])
    index = build_index(settings.data)
    for number, path in enumerate(index["path"][index["split"] == "train"][::3]):
        with open(path, "r+b") as file:
            file.truncate([0, 40, 1200][number % 3])
    return root


def weights(folder):
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("content", [b"<html>", b"\xff\xd8\xff\xe0cut"])
def test_one_bad_image_among_good_ones_ends_training_with_its_name(arguments, people, content, tmp_path):
    shutil.copytree(people, tmp_path / "set")
    bad = sorted((tmp_path / "set" / "visible").glob("*/*.jpg"))
    for path in bad[::4]:
        path.write_bytes(content)
    # a process of its own: DALI 2.4 by itself would take it down with a signal
    root, output = f"data.root={tmp_path / 'set'}", tmp_path / "output.txt"
    process = fork(train.main, [*arguments, root, "batch.images_per_modality=8"], output=output)
    process.join(120)
    assert process.exitcode == 2, output.read_text()
    lines = [line for line in output.read_text().splitlines() if line.startswith("error:")]
    assert len(lines) == 1 and "cannot be read as an image" in lines[0]
    assert any(str(path) in lines[0] for path in bad[::4])


def test_replaced_images_are_counted_to_the_end_whatever_happens_between(
    arguments, damaged, tmp_path, monkeypatch, assert_equal
):
    tolerant = [*arguments, f"data.root={damaged}", "loader.on_corrupt_image=replace"]
    train.main([*tolerant, "name=whole"])
    metrics = pd.read_csv(tmp_path / "whole" / "metrics.csv")
    total = int(metrics["replaced_images"].sum())
    assert total > 8 and metrics["step"].tolist() == list(range(1, 9))
    results = pd.read_csv(tmp_path / "whole" / "results.csv")
    assert set(results["replaced_images"]) == {total}
    log = (tmp_path / "whole" / "log.txt").read_text()
    assert "cannot be read as an image: the file is empty; others of its identity replace it" in log
    first_epoch = int(metrics["replaced_images"][:4].sum())
    assert f"{first_epoch} images replaced" in log and f"{total} images were replaced in all" in log

    stop_file = tmp_path / "stop"
    stop_file.touch()
    with monkeypatch.context() as patch:
        patch.setenv("STOP_FILE", str(stop_file))
        train.main([*tolerant, "name=stopped"])
    train.main([*tolerant, "name=stopped"])
    assert_equal(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))
    assert set(pd.read_csv(tmp_path / "stopped" / "results.csv")["replaced_images"]) == {total}
    evaluate.main([str(tmp_path / "stopped"), "evaluation.flip=true"])
    assert set(pd.read_csv(tmp_path / "stopped" / "results.csv")["replaced_images"]) == {total}


def test_a_run_with_a_bad_image_continues_when_told_to_replace_it(arguments, damaged, tmp_path, capsys, assert_equal):
    with pytest.raises(SystemExit):
        train.main([*arguments, f"data.root={damaged}", "name=run"])
    assert "loader.on_corrupt_image=replace continues without it" in capsys.readouterr().err
    train.main([*arguments, f"data.root={damaged}", "name=run", "loader.on_corrupt_image=replace"])
    train.main([*arguments, f"data.root={damaged}", "name=other", "loader.on_corrupt_image=replace"])
    assert_equal(weights(tmp_path / "run"), weights(tmp_path / "other"))


def test_an_image_that_vanishes_between_the_check_and_the_training_is_named(
    arguments, people, tmp_path, monkeypatch, capsys
):
    root = shutil.copytree(people, tmp_path / "set")
    with pytest.raises(SystemExit) as ended:
        prepare.main([*arguments, f"data.root={root}"])
    assert ended.value.code == 0
    open_run = train.open_run

    def vanish(*arguments):  # after the index is read, before the first batch
        shutil.rmtree(root / "visible")
        return open_run(*arguments)

    monkeypatch.setattr(train, "open_run", vanish)
    with pytest.raises(SystemExit) as ended:
        train.main([*arguments, f"data.root={root}", "name=run"])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert f"{root}/visible/" in error and "cannot be read as an image: the file does not exist" in error


def test_a_run_may_change_between_the_folder_and_its_pack(arguments, people, tmp_path, monkeypatch, assert_equal):
    """Trained from the folder, from the pack, and from one after the other: the same weights and results."""
    with pytest.raises(SystemExit):
        prepare.main([*arguments, f"data.root={people}", "--pack", str(tmp_path / "packs")])
    folder, pack = f"data.root={people}", f"data.root={tmp_path / 'packs'}"
    train.main([*arguments, folder, "name=folder"])
    train.main([*arguments, pack, "name=pack"])
    stop_file = tmp_path / "stop"
    stop_file.touch()
    with monkeypatch.context() as patch:
        patch.setenv("STOP_FILE", str(stop_file))
        train.main([*arguments, folder, "name=both"])
    train.main([*arguments, pack, "name=both"])
    results = {
        name: pd.read_csv(tmp_path / name / "results.csv").drop(columns=["run", "evaluation"])
        for name in ("folder", "pack", "both")
    }
    for name in ("pack", "both"):
        assert_equal(weights(tmp_path / "folder"), weights(tmp_path / name))
        pd.testing.assert_frame_equal(results["folder"], results[name])
