"""Trainings that can't end well: they don't begin, or lose nothing."""

import shutil

import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

from pipeline.run.checkpoint import checkpoints, weights_facts
from pipeline.synthetic.generation import generate
from tests.end_to_end.runs import SHORT, run, weights


@pytest.fixture()
def arguments(people, tiny, tmp_path):
    return ["configs/folder.yaml", *tiny, *SHORT, f"data.root={people}", f"output={tmp_path}"]


def test_a_loss_that_is_not_finite_stops_before_the_weights_are_touched(arguments, capsys, tmp_path):
    arguments = [*arguments, "optimizer.lr=1e30", "optimizer.warmup=0"]
    with pytest.raises(SystemExit) as ended:
        run([*arguments, f"output={tmp_path}"], "wild")
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "is not finite (loss " in error and "identity" in error
    for folder in checkpoints(tmp_path / "wild" / "checkpoints"):
        for name, tensor in load_file(folder / "model.safetensors").items():
            assert tensor.isfinite().all() or "running" in name, (folder, name)


def test_a_gradient_that_is_not_finite_reaches_no_checkpoint_whatever_the_loss_says(
    arguments, capsys, monkeypatch, tmp_path, assert_equal
):
    steps = []

    def backward(accelerator, loss, **more):
        loss.backward()
        steps.append(loss)
        if len(steps) == 4:  # after which a checkpoint is due
            accelerator._models[0].network.heads["global"].classifier.weight.grad[0, 0] = float("nan")

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr("accelerate.Accelerator.backward", backward)
        run(arguments, "broken")
    assert ended.value.code == 2
    folder = tmp_path / "broken"
    error = capsys.readouterr().err
    assert "error: the gradient of step 4 is not finite (gradient_norm nan, loss" in error
    assert f"the newest checkpoint, {folder / 'checkpoints' / 'step-00000002'}, is intact" in error
    assert "error: the gradient of step 4 is not finite (gradient_norm nan, loss" in (folder / "log.txt").read_text()
    assert [path.name for path in checkpoints(folder / "checkpoints")] == ["step-00000002"]
    assert not (folder / "model.safetensors").exists()
    assert_equal(weights(run(arguments, "whole")), weights(run(arguments, "broken")))


def test_a_run_whose_evaluation_failed_is_evaluated_and_not_trained_again(
    arguments, capsys, monkeypatch, tmp_path, assert_equal
):
    whole = run(arguments, "whole")

    def fail(*everything):
        raise OSError("no space left")

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr("pipeline.evaluation.session.append_rows", fail)
        run(arguments, "cut")
    folder = tmp_path / "cut"
    assert "no space left" in capsys.readouterr().err
    assert_equal(weights(whole), weights(folder))
    assert not (folder / "finished").exists() and not (folder / "results.csv").exists()
    shutil.rmtree(folder / "checkpoints")  # nothing to train on from
    run(arguments, "cut")
    assert (folder / "finished").exists() and "is finished" not in (folder / "log.txt").read_text()
    compared = [pd.read_csv(path / "results.csv").drop(columns=["run", "evaluation"]) for path in (whole, folder)]
    pd.testing.assert_frame_equal(*compared, check_exact=True)


def test_a_run_of_a_version_without_the_mark_is_finished_by_its_weights(arguments, capsys, tmp_path):
    folder = run(arguments, "old", "train.epochs=1", "train.steps_per_epoch=1")
    (folder / "finished").unlink()
    facts = weights_facts(folder / "model.safetensors")
    del facts["training"]
    save_file(weights(folder), folder / "model.safetensors", facts)
    capsys.readouterr()
    run(arguments, "old", "train.epochs=1", "train.steps_per_epoch=1")
    assert "is finished" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["evaluation.gallery_rule=official"], "rand_perm_cam.mat"),
        (["evaluation.shots=[multi]", "evaluation.gallery_rule=random_seed"], "evaluation.shots"),
    ],
)
def test_an_evaluation_that_could_not_be_made_is_an_error_before_the_first_step(tiny, more, message, capsys, tmp_path):
    generate("sysu", tmp_path / "set", identities=20, images_per_camera=2, seed=0, workers=1)
    for file in (tmp_path / "set").rglob("rand_perm_cam.mat"):
        file.unlink()
    own = [argument for argument in tiny if not argument.startswith("data.")]
    with pytest.raises(SystemExit):
        run(["configs/sysu.yaml", *own, f"data.root={tmp_path / 'set'}", *SHORT, f"output={tmp_path}"], "never", *more)
    assert message in capsys.readouterr().err
    assert not checkpoints(tmp_path / "never" / "checkpoints") and not (tmp_path / "never" / "metrics.csv").exists()


def test_a_test_image_that_cannot_be_read_is_met_before_the_first_step(arguments, people, capsys, tmp_path):
    copied = tmp_path / "set"
    shutil.copytree(people, copied)
    for image in copied.rglob("*.jpg"):
        image.write_bytes(image.read_bytes()[:200])
    folder = run(arguments, "whole", "train.epochs=1", "train.steps_per_epoch=1")
    split = pd.read_csv(folder / "split.csv", dtype=str)
    for name in split.loc[split["split"] == "train", "identity"]:
        for modality in ("visible", "infrared"):
            shutil.copytree(people / modality / name, copied / modality / name, dirs_exist_ok=True)
    with pytest.raises(SystemExit):
        run([*arguments, f"data.root={copied}", f"output={tmp_path}"], "never", "loader.on_corrupt_image=replace")
    assert "cannot be read as an image" in capsys.readouterr().err
    assert not (tmp_path / "never" / "metrics.csv").exists()


def test_what_of_the_schedule_is_never_reached_is_said_at_the_start(arguments, tmp_path):
    folder = run(arguments, "short", "train.epochs=1", "train.steps_per_epoch=1")
    log = (folder / "log.txt").read_text()
    assert "the warm-up of 10 epochs is not over after train.epochs=1" in log
    assert "optimizer.milestones: 20, 50 of [20.0, 50.0] are not reached" in log
