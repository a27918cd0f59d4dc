"""The real entry points, from pictures on disk to results."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline import evaluate, train
from pipeline.datasets.synthetic import generate
from pipeline.protocols import DIRECTIONS
from pipeline.run.checkpoint import checkpoints, load_weights, save_weights, weights_facts

SHORT = ["train.epochs=2", "train.steps_per_epoch=6", "train.checkpoint_steps=2"]


@pytest.fixture()
def words(people, tiny, tmp_path):
    return ["configs/folder.yaml", *tiny, *SHORT, f"data.root={people}", f"output={tmp_path}"]


def run(words, name, *more):
    train.main([*words, f"name={name}", *more])
    return Path(words[-1].split("=")[1]) / name


def weights(folder):
    return load_file(folder / "model.safetensors")


def test_a_run_trains_evaluates_and_writes_everything_down(words, capsys):
    folder = run(words, "whole")
    assert {path.name for path in folder.iterdir()} >= {
        "config.yaml",
        "env.json",
        "log.txt",
        "metrics.csv",
        "checkpoints",
        "model.safetensors",
        "results.csv",
        "finished",
    }
    metrics = pd.read_csv(folder / "metrics.csv")
    assert metrics["step"].tolist() == list(range(1, 13))
    assert {"loss", "identity", "intra", "cross", "intra_visible_derived", "lr", "waiting_for_data"} <= {*metrics}
    assert metrics["gradient_norm"].gt(0).all()
    assert [path.name for path in checkpoints(folder / "checkpoints")] == ["step-00000010", "step-00000012"]
    results = pd.read_csv(folder / "results.csv")
    assert results["direction"].tolist() == list(DIRECTIONS)
    assert results["mAP"].between(0, 100).all() and (results["queries"] == 48).all()
    assert "epoch 2/2 step 12" in (folder / "log.txt").read_text()
    capsys.readouterr()
    run(words, "whole")
    assert "is finished" in capsys.readouterr().out
    assert len(pd.read_csv(folder / "results.csv")) == 2
    again = pd.read_csv(folder / "results.csv")
    evaluate.main([str(folder)])
    evaluate.main([str(folder), "evaluation.flip=true"])
    rows = pd.read_csv(folder / "results.csv")
    assert len(rows) == 4
    pd.testing.assert_frame_equal(rows[~rows["flip"]].reset_index(drop=True), again)


@pytest.mark.parametrize("killed_after", [1, 3, 7])
def test_a_killed_and_resumed_run_ends_with_the_same_weights(words, killed_after, tmp_path, assert_equal):
    uninterrupted = weights(run(words, "whole"))
    folder = tmp_path / "killed"
    process = start_training([*words, "name=killed"], tmp_path)
    wait_for_step(process, folder / "metrics.csv", killed_after)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "model.safetensors").exists(), "it ended before it was killed"
    assert_equal(uninterrupted, weights(run(words, "killed")))
    metrics = pd.read_csv(folder / "metrics.csv")
    assert metrics["step"].tolist() == list(range(1, 13))
    whole = pd.read_csv(tmp_path / "whole" / "metrics.csv")
    pd.testing.assert_series_equal(metrics["loss"], whole["loss"])


def start_training(words, folder):
    # torch's threads as in this process: sums in another order differ in their last bit
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    with open(folder / "output.txt", "w") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline.train", *words], stdout=output, stderr=output, env=environment
        )


def wait_for_step(process, metrics, step):
    deadline = time.monotonic() + 120
    while not (metrics.exists() and len(metrics.read_text().splitlines()) > step):
        assert process.poll() is None and time.monotonic() < deadline, "training ended or hangs before the kill"
        time.sleep(0.002)


def test_a_kill_while_a_checkpoint_is_written_loses_only_the_steps_since_the_last(
    words, monkeypatch, tmp_path, assert_equal
):
    uninterrupted = weights(run(words, "whole"))

    def killed(*paths):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(
            "pipeline.run.checkpoint.os.replace",
            lambda *paths: killed() if "00000006" in str(paths[0]) else os.rename(*paths),
        )
        run(words, "cut")
    found = [path.name for path in (tmp_path / "cut" / "checkpoints").iterdir()]
    assert sorted(found) == ["step-00000002", "step-00000004", "unfinished-00000006"]
    folder = run(words, "cut")
    assert "resumed at step 4" in (folder / "log.txt").read_text()
    assert_equal(uninterrupted, weights(folder))
    assert not list((folder / "checkpoints").glob("unfinished-*"))


def test_being_asked_to_stop_writes_a_checkpoint_and_goes_on_later(words, monkeypatch, tmp_path, assert_equal):
    uninterrupted = weights(run(words, "whole"))
    stop_file = tmp_path / "stop"
    stop_file.touch()
    monkeypatch.setenv("STOP_FILE", str(stop_file))
    folder = run(words, "stopped")
    assert not (folder / "model.safetensors").exists()
    assert [path.name for path in checkpoints(folder / "checkpoints")] == ["step-00000001"]
    stop_file.unlink()
    assert_equal(uninterrupted, weights(run(words, "stopped")))


@pytest.mark.parametrize(
    "more",
    [
        ["train.accumulate=2"],
        ["train.ema=0.9", "optimizer.clip=1.0"],
        ["optimizer.name=adamw", "optimizer.schedule=cosine", "train.precision=bf16"],
        ["train.channels_last=false", "train.norm=frozen", "loader.image_type=bfloat16"],
        ["derive.visible=learned", "derive.infrared=learned", "model.stems=modality"],
        ["model.backbone=vit_tiny_patch16_224", "model.pooling=average"],
        ["model.backbone=convnext_atto", "model.stems=shared"],
    ],
    ids=lambda more: more[0],
)
def test_every_way_of_training_resumes_exactly(words, more, monkeypatch, tmp_path, assert_equal):
    words = [*words, "train.epochs=1", "train.steps_per_epoch=3", f"output={tmp_path}"]
    whole = run(words, "whole", *more)
    monkeypatch.setenv("STOP_FILE", str(tmp_path))  # stops after every step
    for _ in range(3):
        stopped = run(words, "stopped", *more)
    monkeypatch.delenv("STOP_FILE")
    run(words, "stopped", *more)
    assert_equal(weights(whole), weights(stopped))


def test_a_loss_that_is_not_finite_stops_before_the_weights_are_touched(words, capsys, tmp_path):
    words = [*words, "optimizer.lr=1e30", "optimizer.warmup_epochs=0"]
    with pytest.raises(SystemExit) as ended:
        run([*words, f"output={tmp_path}"], "wild")
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "is not finite (loss " in error and "identity" in error
    for folder in checkpoints(tmp_path / "wild" / "checkpoints"):
        for name, tensor in load_file(folder / "model.safetensors").items():
            assert tensor.isfinite().all() or "running" in name, (folder, name)


def test_a_gradient_that_is_not_finite_reaches_no_checkpoint_whatever_the_loss_says(
    words, capsys, monkeypatch, tmp_path, assert_equal
):
    steps = []

    def backward(accelerator, loss, **more):
        loss.backward()
        steps.append(loss)
        if len(steps) == 4:  # after which a checkpoint is due
            accelerator._models[0].classifier.weight.grad[0, 0] = float("nan")

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr("accelerate.Accelerator.backward", backward)
        run(words, "broken")
    assert ended.value.code == 2
    assert "error: the gradient of step 3 is not finite (loss" in capsys.readouterr().err  # steps count from 0
    folder = tmp_path / "broken"
    assert [path.name for path in checkpoints(folder / "checkpoints")] == ["step-00000002"]
    assert not (folder / "model.safetensors").exists()
    assert_equal(weights(run(words, "whole")), weights(run(words, "broken")))


def test_a_run_whose_evaluation_failed_is_evaluated_and_not_trained_again(
    words, capsys, monkeypatch, tmp_path, assert_equal
):
    whole = run(words, "whole")

    def fail(*everything):
        raise OSError("no space left")

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr("pipeline.evaluate.append_rows", fail)
        run(words, "cut")
    folder = tmp_path / "cut"
    assert "no space left" in capsys.readouterr().err
    assert_equal(weights(whole), weights(folder))
    assert not (folder / "finished").exists() and not (folder / "results.csv").exists()
    shutil.rmtree(folder / "checkpoints")  # nothing to train on from
    run(words, "cut")
    assert (folder / "finished").exists() and "is finished" not in (folder / "log.txt").read_text()
    compared = [pd.read_csv(path / "results.csv").drop(columns=["run", "evaluation"]) for path in (whole, folder)]
    pd.testing.assert_frame_equal(*compared, check_exact=True)


def test_a_run_of_a_version_without_the_mark_is_finished_by_its_weights(words, capsys, tmp_path):
    folder = run(words, "old", "train.epochs=1", "train.steps_per_epoch=1")
    (folder / "finished").unlink()
    facts = weights_facts(folder / "model.safetensors")
    del facts["training"]
    save_file(weights(folder), folder / "model.safetensors", facts)
    capsys.readouterr()
    run(words, "old", "train.epochs=1", "train.steps_per_epoch=1")
    assert "is finished" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["evaluation.gallery_rule=official"], "rand_perm_cam.mat"),
        (["evaluation.shots=[multi]", "evaluation.gallery_rule=random_seed"], "evaluation.shots"),
    ],
)
def test_an_evaluation_that_could_not_be_made_is_refused_before_the_first_step(tiny, more, message, capsys, tmp_path):
    generate("sysu", tmp_path / "set", identities=20, images_per_camera=2, seed=0, workers=1)
    for file in (tmp_path / "set").rglob("rand_perm_cam.mat"):
        file.unlink()
    own = [word for word in tiny if not word.startswith("data.")]
    with pytest.raises(SystemExit):
        run(["configs/sysu.yaml", *own, f"data.root={tmp_path / 'set'}", *SHORT, f"output={tmp_path}"], "never", *more)
    assert message in capsys.readouterr().err
    assert not checkpoints(tmp_path / "never" / "checkpoints") and not (tmp_path / "never" / "metrics.csv").exists()


def test_a_test_image_that_cannot_be_read_is_met_before_the_first_step(words, people, capsys, tmp_path):
    copied = tmp_path / "set"
    shutil.copytree(people, copied)
    for image in copied.rglob("*.jpg"):
        image.write_bytes(image.read_bytes()[:200])
    folder = run(words, "whole", "train.epochs=1", "train.steps_per_epoch=1")
    split = pd.read_csv(folder / "split.csv", dtype=str)
    for name in split.loc[split["split"] == "train", "identity"]:
        for modality in ("visible", "infrared"):
            shutil.copytree(people / modality / name, copied / modality / name, dirs_exist_ok=True)
    with pytest.raises(SystemExit):
        run([*words, f"data.root={copied}", f"output={tmp_path}"], "never", "loader.on_bad_image=replace")
    assert "cannot be read as a picture" in capsys.readouterr().err
    assert not (tmp_path / "never" / "metrics.csv").exists()


def test_what_of_the_schedule_is_never_reached_is_said_at_the_start(words, tmp_path):
    folder = run(words, "short", "train.epochs=1", "train.steps_per_epoch=1")
    log = (folder / "log.txt").read_text()
    assert "the warm-up of 10 epochs is not over after train.epochs=1" in log
    assert "optimizer.milestones: 20, 50 of [20.0, 50.0] are not reached" in log


@pytest.mark.parametrize(
    ("layout", "identities", "results"),
    [
        ("sysu", 20, [("infrared_to_visible", mode, 10) for mode in ("all", "indoor")]),
        ("regdb", 8, [(direction, "all", 1) for direction in DIRECTIONS]),
        ("llcm", 12, [(direction, "paper", 10) for direction in DIRECTIONS]),
    ],
)
def test_every_layout_is_trained_on_and_tested_by_its_protocol(tiny, layout, identities, results, tmp_path):
    generate(layout, tmp_path / "set", identities=identities, images_per_camera=2, seed=0, workers=1)
    short = ["train.epochs=1", "train.steps_per_epoch=2", f"output={tmp_path}", f"data.root={tmp_path / 'set'}"]
    train.main([f"configs/{layout}.yaml", *(word for word in tiny if not word.startswith("data.")), *short, "name=run"])
    rows = pd.read_csv(tmp_path / "run" / "results.csv")
    found = rows.groupby(["direction", "mode"], sort=False).size()
    assert sorted((*key, count) for key, count in found.items()) == sorted(results)
    assert rows[["rank_1", "mAP", "mINP"]].gt(0).any().all() and rows["queries"].gt(0).all()
    if layout == "sysu":
        assert (rows["gallery_rule"] == "official").all()


@pytest.mark.parametrize("row", ["b1", "b2", "mdl1", "mdl2", "mdl3", "mdl4"])
def test_every_row_of_the_ablation_runs_by_its_config_alone(words, row, tmp_path):
    short = ["train.epochs=1", "train.steps_per_epoch=1", f"output={tmp_path}"]
    train.main([words[0], f"configs/ablation/{row}.yaml", *words[1:], *short])
    metrics = pd.read_csv(tmp_path / f"folder-{row}" / "metrics.csv")
    parts = {name for name in metrics if name.startswith(("intra_", "cross_"))}
    assert parts == EXPECTED_PARTS[row]


B2 = {"intra_visible", "intra_infrared", "cross_infrared_visible"}
MDL1 = B2 | {"intra_infrared_derived", "cross_visible_infrared_derived"}
MDL2 = B2 | {"intra_visible_derived", "cross_infrared_visible_derived"}
EXPECTED_PARTS = {
    "b1": set(),
    "b2": B2,
    "mdl1": MDL1,
    "mdl2": MDL2,
    "mdl3": MDL1 | MDL2 | {"cross_infrared_derived_visible_derived"},
    "mdl4": MDL1 | MDL2,
}


def test_tensorboard_gets_the_metrics(words, tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = run(
        [*words, "train.epochs=1", "train.steps_per_epoch=3", f"output={tmp_path}"],
        "logged",
        "train.trackers=[tensorboard]",
    )
    (file,) = (path for path in (folder / "logged").glob("*tfevents*") if path.is_file())
    found = events.EventAccumulator(str(file)).Reload()
    assert [event.step for event in found.Scalars("loss")] == [1, 2, 3]
    metrics = pd.read_csv(folder / "metrics.csv")
    assert [event.value for event in found.Scalars("loss")] == pytest.approx(metrics["loss"].tolist(), rel=1e-6)


def test_an_untrained_network_and_the_pixels_can_be_evaluated(words, tmp_path):
    evaluate.main([*words, "name=untrained"])
    evaluate.main([*words, "name=pixels", "evaluation.extractor=pixels"])
    for name, feature in (("untrained", "embedding"), ("pixels", "pixels")):
        rows = pd.read_csv(tmp_path / name / "results.csv")
        assert (rows["feature"] == feature).all() and (rows["epoch"] == 0).all() and len(rows) == 2


def test_training_on_what_is_tested_is_refused(words, capsys, tmp_path):
    with pytest.raises(SystemExit):
        run([*words, f"output={tmp_path}"], "leak", "data.test_split=val")
    assert "data.test_split: val was trained on" in capsys.readouterr().err
    assert not (tmp_path / "leak").exists()


def test_wrong_evaluations_are_refused(words, capsys, tmp_path):
    folder = run(words, "whole", "train.epochs=1", "train.steps_per_epoch=1")
    for word, message in (
        ("data.split_seed=3", "would test identities it was trained on"),
        ("data.test_split=val", "data.test_split: val was trained on"),
        ("model.backbone=resnet18", "a trained run is evaluated with"),
        ("evaluation.metrik=cosine", "unknown key evaluation.metrik; the nearest is evaluation.metric"),
    ):
        with pytest.raises(SystemExit):
            evaluate.main([str(folder), word])
        assert message in capsys.readouterr().err
    (folder / "model.safetensors").unlink()
    with pytest.raises(SystemExit):
        evaluate.main([str(folder)])
    assert "expected a trained run" in capsys.readouterr().err


def test_weights_of_another_network_are_refused(tmp_path):
    save_weights(torch.nn.Linear(2, 3), tmp_path / "model.safetensors")
    load_weights(torch.nn.Linear(2, 3), tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"model\.safetensors: not the weights of this network"):
        load_weights(torch.nn.Linear(2, 4), tmp_path / "model.safetensors")


def test_real_photographs(words, shared_folder, tmp_path):
    real = [f"data.root={shared_folder / 'real' / 'kaist'}", "train.epochs=1", "train.steps_per_epoch=2"]
    folder = run([*words, *real, f"output={tmp_path}"], "real")
    assert (pd.read_csv(folder / "results.csv")["queries"] == 58).all()
