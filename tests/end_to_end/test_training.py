"""The real entry points, from images on disk to results."""

import os
import shutil
import time

import pandas as pd
import pytest
import torch

from pipeline import evaluate, train
from pipeline.protocols import DIRECTIONS
from pipeline.run.checkpoint import checkpoints, load_weights, save_weights
from pipeline.run.folder import settings_of
from pipeline.synthetic.generation import generate
from tests.end_to_end.runs import SHORT, run, weights
from tests.forked import fork


@pytest.fixture()
def arguments(people, tiny, tmp_path):
    return words_of(people, tiny, tmp_path)


def words_of(people, tiny, output):
    return ["configs/folder.yaml", *tiny, *SHORT, f"data.root={people}", f"output={output}"]


@pytest.fixture(scope="module")
def whole(people, tiny, tmp_path_factory, hidden_gpus):
    """The folder of a run that nothing interrupted."""
    with hidden_gpus():
        return run(words_of(people, tiny, tmp_path_factory.mktemp("whole")), "whole")


def test_a_run_trains_evaluates_and_writes_everything_down(whole, arguments, capsys, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "whole")
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
    run(arguments, "whole")
    assert "is finished" in capsys.readouterr().out
    assert len(pd.read_csv(folder / "results.csv")) == 2
    again = pd.read_csv(folder / "results.csv")
    evaluate.main([str(folder)])
    evaluate.main([str(folder), "evaluation.flip=true"])
    rows = pd.read_csv(folder / "results.csv")
    assert len(rows) == 4
    pd.testing.assert_frame_equal(rows[~rows["flip"]].reset_index(drop=True), again)


@pytest.mark.parametrize("killed_after", [1, 3, 7])
def test_a_killed_and_resumed_run_ends_with_the_same_weights(whole, arguments, killed_after, tmp_path, assert_equal):
    folder = tmp_path / "killed"
    tracked = "train.trackers=[tensorboard]"
    # torch's threads as in this process: sums in another order differ in their last bit
    threads = torch.get_num_threads()
    process = fork(train.main, [*arguments, "name=killed", tracked], output=tmp_path / "output.txt", threads=threads)
    wait_for_step(process, folder / "metrics.csv", killed_after)
    process.kill()
    process.join()
    assert not (folder / "model.safetensors").exists(), "it ended before it was killed"
    assert_equal(weights(whole), weights(run(arguments, "killed", tracked)))
    metrics = pd.read_csv(folder / "metrics.csv")
    assert tracked_steps(folder, "loss") == list(range(1, 13)) and tracked_steps(folder, RESULT) == [13]
    assert metrics["step"].tolist() == list(range(1, 13))
    pd.testing.assert_series_equal(metrics["loss"], pd.read_csv(whole / "metrics.csv")["loss"])


RESULT = f"test/{next(iter(DIRECTIONS))}/mAP"


def tracked_steps(folder, name):
    """Steps at which TensorBoard shows a value, of all starts of a run."""
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    return [event.step for event in events.EventAccumulator(str(folder / folder.name)).Reload().Scalars(name)]


def wait_for_step(process, metrics, step):
    deadline = time.monotonic() + 120
    while not (metrics.exists() and len(metrics.read_text().splitlines()) > step):
        assert process.is_alive() and time.monotonic() < deadline, "training ended or hangs before the kill"
        time.sleep(0.002)


def test_a_kill_while_a_checkpoint_is_written_loses_only_the_steps_since_the_last(
    whole, arguments, monkeypatch, tmp_path, assert_equal
):
    def killed(*paths):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(
            "pipeline.run.checkpoint.os.replace",
            lambda *paths: killed() if "00000006" in str(paths[0]) else os.rename(*paths),
        )
        run(arguments, "cut")
    found = [path.name for path in (tmp_path / "cut" / "checkpoints").iterdir()]
    assert sorted(found) == ["step-00000002", "step-00000004", "unfinished-00000006"]
    folder = run(arguments, "cut")
    assert "resumed at step 4" in (folder / "log.txt").read_text()
    assert_equal(weights(whole), weights(folder))
    assert not list((folder / "checkpoints").glob("unfinished-*"))


def test_being_asked_to_stop_writes_a_checkpoint_and_resumes_later(
    whole, arguments, monkeypatch, tmp_path, assert_equal
):
    stop_file = tmp_path / "stop"
    stop_file.touch()
    monkeypatch.setenv("STOP_FILE", str(stop_file))
    folder = run(arguments, "stopped")
    assert not (folder / "model.safetensors").exists()
    assert [path.name for path in checkpoints(folder / "checkpoints")] == ["step-00000001"]
    stop_file.unlink()
    assert_equal(weights(whole), weights(run(arguments, "stopped")))


@pytest.mark.parametrize(
    "more",
    [
        ["train.grad_accum_steps=2"],
        ["train.ema=0.9", "optimizer.clip_grad_norm=1.0"],
        ["optimizer.name=adamw", "optimizer.schedule=cosine", "train.precision=bf16"],
        ["train.channels_last=false", "train.norm=frozen", "loader.image_type=bfloat16"],
        [
            *("derive.visible=learned", "derive.infrared=learned", "model.stems=modality"),
            *("train.freeze_backbone_epochs=0.67", "optimizer.layer_decay=0.7", "optimizer.derivation_lr_mult=1"),
            *("optimizer.decay_norm_bias=false", "optimizer.name=lamb", "train.ema=0.9"),
        ],
        ["model.backbone=vit_tiny_patch16_224", "model.kwargs.depth=2", "model.drop_path=0.2"],
        ["model.ibn=a", "model.pool_power_trained=true", "model.grad_checkpointing=true"],
        ["model.backbone=convnext_atto", "model.stems=shared"],
    ],
    ids=lambda more: more[0],
)
def test_every_way_of_training_resumes_exactly(arguments, more, monkeypatch, tmp_path, assert_equal):
    arguments = [*arguments, "train.epochs=1", "train.steps_per_epoch=3", f"output={tmp_path}"]
    whole = run(arguments, "whole", *more)
    monkeypatch.setenv("STOP_FILE", str(tmp_path))  # stops after every step
    for _ in range(3):
        stopped = run(arguments, "stopped", *more)
    monkeypatch.delenv("STOP_FILE")
    run(arguments, "stopped", *more)
    assert_equal(weights(whole), weights(stopped))


def test_activations_computed_again_train_the_same_weights(arguments, tmp_path, assert_equal):
    short = [*arguments, "train.epochs=1", "train.steps_per_epoch=3", "train.grad_accum_steps=2", f"output={tmp_path}"]
    kept = run(short, "kept")
    again = run(short, "again", "model.grad_checkpointing=true")
    assert_equal(weights(kept), weights(again))
    assert ", gem pooling" in (kept / "log.txt").read_text()


def test_a_run_keeps_the_pooling_it_was_trained_with_and_gem_of_signed_features_begins_none(arguments, tmp_path, capfd):
    transformer = [*arguments, "train.epochs=1", "train.steps_per_epoch=1", "model.backbone=test_vit"]
    transformer += [f"output={tmp_path}"]
    folder = run(transformer, "vit")
    assert settings_of(folder).model.pooling == "token" and ", token pooling" in (folder / "log.txt").read_text()
    with pytest.raises(SystemExit):
        run(transformer, "refused", "model.pooling=gem")
    assert "error: model.pooling: gem is for maps without negative values" in capfd.readouterr().err
    # as a version kept it that didn't refuse it
    kept = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(kept.replace("pooling: token", "pooling: gem"))
    evaluate.main([str(folder)])
    assert "model.pooling: gem is for maps without negative values" in capfd.readouterr().out
    assert len(pd.read_csv(folder / "results.csv")) == 2 * len(DIRECTIONS)


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
    train.main(
        [
            f"configs/{layout}.yaml",
            *(argument for argument in tiny if not argument.startswith("data.")),
            *short,
            "name=run",
        ]
    )
    rows = pd.read_csv(tmp_path / "run" / "results.csv")
    found = rows.groupby(["direction", "mode"], sort=False).size()
    assert sorted((*key, count) for key, count in found.items()) == sorted(results)
    assert rows[["rank_1", "mAP", "mINP"]].gt(0).any().all() and rows["queries"].gt(0).all()
    if layout == "sysu":
        assert (rows["gallery_rule"] == "official").all()


@pytest.mark.parametrize("row", ["b1", "b2", "mdl1", "mdl2", "mdl3", "mdl4"])
def test_every_row_of_the_ablation_runs_by_its_config_alone(arguments, row, tmp_path):
    short = ["train.epochs=1", "train.steps_per_epoch=1", f"output={tmp_path}"]
    train.main([arguments[0], f"configs/ablation/{row}.yaml", *arguments[1:], *short])
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


def test_tensorboard_gets_the_metrics(arguments, tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = run(
        [*arguments, "train.epochs=1", "train.steps_per_epoch=3", f"output={tmp_path}"],
        "logged",
        "train.trackers=[tensorboard]",
    )
    (file,) = (path for path in (folder / "logged").glob("*tfevents*") if path.is_file())
    found = events.EventAccumulator(str(file)).Reload()
    assert [event.step for event in found.Scalars("loss")] == [1, 2, 3]
    metrics, results = pd.read_csv(folder / "metrics.csv"), pd.read_csv(folder / "results.csv")
    assert [event.value for event in found.Scalars(RESULT)] == pytest.approx(results["mAP"][:1].tolist(), rel=1e-6)
    assert [event.value for event in found.Scalars("loss")] == pytest.approx(metrics["loss"].tolist(), rel=1e-6)


def test_an_untrained_network_and_the_pixels_can_be_evaluated(arguments, tmp_path):
    evaluate.main([*arguments, "name=untrained"])
    evaluate.main([*arguments, "name=pixels", "evaluation.extractor=pixels"])
    for name, feature in (("untrained", "embedding"), ("pixels", "pixels")):
        rows = pd.read_csv(tmp_path / name / "results.csv")
        assert (rows["feature"] == feature).all() and (rows["epoch"] == 0).all() and len(rows) == 2


def test_training_on_what_is_tested_is_an_error(arguments, capsys, tmp_path):
    with pytest.raises(SystemExit):
        run([*arguments, f"output={tmp_path}"], "leak", "data.test_split=val")
    assert "data.test_split: val was trained on" in capsys.readouterr().err
    assert not (tmp_path / "leak").exists()


def test_wrong_evaluations_are_errors(arguments, capsys, tmp_path):
    folder = run(arguments, "whole", "train.epochs=1", "train.steps_per_epoch=1")
    for argument, message in (
        ("data.split_seed=3", "would test identities it was trained on"),
        ("data.test_split=val", "data.test_split: val was trained on"),
        ("model.backbone=resnet18", "a trained run is evaluated with"),
        ("evaluation.metrik=cosine", "unknown key evaluation.metrik; the nearest is evaluation.metric"),
    ):
        with pytest.raises(SystemExit):
            evaluate.main([str(folder), argument])
        assert message in capsys.readouterr().err
    (folder / "model.safetensors").unlink()
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(SystemExit):
        evaluate.main([str(folder)])
    assert "expected a trained run" in capsys.readouterr().err


def test_weights_of_another_network_are_errors(tmp_path):
    save_weights(torch.nn.Linear(2, 3), tmp_path / "model.safetensors")
    load_weights(torch.nn.Linear(2, 3), tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"model\.safetensors: not the weights of this network"):
        load_weights(torch.nn.Linear(2, 4), tmp_path / "model.safetensors")


def test_real_photographs(arguments, shared_folder, tmp_path):
    real = [f"data.root={shared_folder / 'real' / 'kaist'}", "train.epochs=1", "train.steps_per_epoch=2"]
    folder = run([*arguments, *real, f"output={tmp_path}"], "real")
    assert (pd.read_csv(folder / "results.csv")["queries"] == 58).all()
