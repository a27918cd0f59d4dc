"""Validation, selection and more epochs, by the real entry points on a few synthetic people."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors import safe_open
from safetensors.torch import load_file

from pipeline import evaluate, train
from pipeline.api import load_run
from pipeline.build import build_divided_index, build_table
from pipeline.config import load_config
from pipeline.datasets.manifest import read_splits, write_splits
from pipeline.distributed import create_accelerator
from pipeline.evaluation.results import read_rows
from pipeline.evaluation.session import evaluate as evaluate_session
from pipeline.evaluation.session import open_session
from pipeline.evaluation.validation import Validator
from pipeline.metric_columns import VALIDATION
from pipeline.run.metrics import read_metrics
from pipeline.run.training_data import read_training_data
from pipeline.synthetic.generation import generate
from pipeline.training.prepare import prepare_training
from pipeline.training.trainer import validate
from tests.end_to_end.runs import run, weights

HELD_OUT = ["validation.identities=0.25", "data.test_fraction=0.4"]
SHORT = ["train.steps_per_epoch=2", "optimizer.warmup=1", "optimizer.milestones=[1]", "train.log_steps=3"]
OFTEN = ["validation.every_epochs=1", "train.epochs=3", "train.ema=0.8"]


def words_of(people, tiny, output):
    tiny = [word for word in tiny if not word.startswith("train.log_steps")]
    return ["configs/folder.yaml", *tiny, *SHORT, *HELD_OUT, f"data.root={people}", f"output={output}"]


@pytest.fixture()
def arguments(people, tiny, tmp_path):
    return words_of(people, tiny, tmp_path)


@pytest.fixture(scope="module")
def validated(people, tiny, tmp_path_factory, hidden_gpus):
    """A finished run that was validated after each of its three epochs."""
    with hidden_gpus():
        return run(words_of(people, tiny, tmp_path_factory.mktemp("validated")), "whole", *OFTEN)


@pytest.fixture()
def copied(validated, tmp_path):
    return shutil.copytree(validated, tmp_path / "whole")


def facts(file):
    with safe_open(file, "pt") as opened:
        return opened.metadata()


def test_the_curve_is_in_the_metrics_and_the_log_and_its_best_is_kept(validated):
    rows = read_metrics(validated / "metrics.csv")
    assert rows["step"].tolist() == [2, 3, 4, 6] and rows["loss"].notna().all()
    assert rows["val_mAP"].notna().tolist() == [True, False, True, True]
    assert rows.loc[rows["val_mAP"].notna(), [*VALIDATION]].apply(lambda column: column.between(0, 100)).all(axis=None)
    log = (validated / "log.txt").read_text()
    best = rows.loc[rows["val_mAP"].idxmax()]
    last = rows.iloc[-1]
    assert f"validation at step 6: mAP {last.val_mAP:.1f} rank-1 {last.val_rank_1:.1f}" in log
    assert f"(best mAP {best.val_mAP:.1f} at step {best.step:.0f})" in log
    found = facts(validated / "best.safetensors")
    assert int(found["step"]) == best.step and int(found["epoch"]) == best.step / 2
    metric, value = found["validation"].split()
    assert metric == "mAP" and float(value) == pytest.approx(best.val_mAP)


def test_held_out_people_are_neither_trained_on_nor_tested(validated, people):
    splits = read_splits(validated / "split.csv")
    held_out = {name for name, split in splits.items() if split == "validation"}
    assert len(held_out) == 2 and set(splits.values()) == {"train", "test", "validation"}
    trained = set(read_training_data(validated).identities)
    assert trained == {name for name, split in splits.items() if split == "train"}
    evaluation = evaluate_session(open_session([str(validated)]))
    tested = set(evaluation.session.index["name"].to_numpy()[evaluation.rows])
    assert tested == {name for name, split in splits.items() if split == "test"}
    evaluation = evaluate_session(open_session([str(validated), "data.test_split=validation"]))
    assert set(evaluation.session.index["name"].to_numpy()[evaluation.rows]) == held_out


def test_validations_change_nothing_of_the_training(arguments, validated, tmp_path, assert_equal):
    without = run(arguments, "without", *OFTEN, "validation.every_epochs=null")
    assert_equal(weights(validated), weights(without))
    assert not (without / "best.safetensors").exists() and "val_mAP" not in read_metrics(without / "metrics.csv")
    assert facts(without / "model.safetensors")["config"] == facts(validated / "model.safetensors")["config"]
    # as if those held out had never been in the training split
    named = {
        name: "val" if split == "validation" else split for name, split in read_splits(validated / "split.csv").items()
    }
    write_splits(named, tmp_path / "split.csv")
    apart = ["data.train_splits=[train]", f"data.split_file={tmp_path / 'split.csv'}", "validation.identities=0"]
    folder = run(arguments, "apart", *OFTEN, *apart)
    assert_equal(weights(validated), weights(folder))
    curves = [read_metrics(path / "metrics.csv")[[*VALIDATION]] for path in (validated, folder)]
    pd.testing.assert_frame_equal(*curves)


def test_a_validation_leaves_modes_and_random_states_as_they_were(arguments, monkeypatch):
    settings = load_config([*arguments, "name=run", *OFTEN, "train.norm=frozen", "train.ema=0"])
    accelerator = create_accelerator(settings, settings.output)
    index = build_divided_index(settings)
    training = prepare_training(settings, accelerator, index, build_table(settings, index))
    training.batches.close()
    frozen = {id(layer) for layer in training.bare_method.pretrained_norms()}
    training.bare_method.train()
    states = torch.get_rng_state(), np.random.get_state()
    kept = {name: tensor.clone() for name, tensor in training.method.state_dict().items()}
    first, second = validate(training, []), validate(training, [])
    assert first == second and set(first) == {"mAP", "rank_1", "mINP"}
    assert torch.equal(torch.get_rng_state(), states[0])
    assert all(np.array_equal(*pair) for pair in zip(np.random.get_state()[1:], states[1][1:], strict=True))
    assert all(torch.equal(tensor, kept[name]) for name, tensor in training.method.state_dict().items())
    modes = {id(module) in frozen: module.training for module in training.bare_method.modules()}
    assert modes == {True: False, False: True}


def curve_point(rows):
    return rows[["mAP", "rank_1", "mINP"]].mean().to_numpy()


def test_the_command_gives_the_numbers_of_the_curve_and_the_row_says_of_which_weights(copied, monkeypatch):
    curve = read_metrics(copied / "metrics.csv").dropna(subset=["val_mAP"]).set_index("step")
    order = ["val_mAP", "val_rank_1", "val_mINP"]
    best = int(facts(copied / "best.safetensors")["step"])
    expected = {"last": ("last", 6), "best": ("best_on_validation", best), "4": ("step 4", 4), "6": ("step 6", 6)}
    for asked, (selection, step) in expected.items():
        (copied / "results.csv").unlink()
        evaluate.main([str(copied), "--checkpoint", asked, "data.test_split=validation"])
        rows = read_rows(copied / "results.csv")
        np.testing.assert_allclose(curve_point(rows), curve.loc[step, order], rtol=1e-12)
        assert set(rows["selection"]) == {selection} and set(rows["epoch"]) == {f"{step // 2}"}
        assert set(rows["split"]) == {"validation"} and set(rows["ranks"]) == {"1"}


def test_an_unfinished_run_is_evaluated_by_its_newest_checkpoint_and_its_features_are_those_of_the_end(
    copied, people, capsys
):
    images = sorted(people.glob("visible/*/*.jpg"))[:5]
    last = load_run(copied).embed(images, "visible")
    AcceleratorState._reset_state(reset_partial_state=True)
    assert torch.equal(load_run(copied, checkpoint=6).embed(images, "visible"), last)
    AcceleratorState._reset_state(reset_partial_state=True)
    assert not torch.equal(load_run(copied, checkpoint="4").embed(images, "visible"), last)
    AcceleratorState._reset_state(reset_partial_state=True)
    for name in ("model.safetensors", "finished", "results.csv"):
        (copied / name).unlink()
    assert torch.equal(load_run(copied).embed(images, "visible"), last)
    AcceleratorState._reset_state(reset_partial_state=True)
    evaluate.main([str(copied)])
    assert set(read_rows(copied / "results.csv")["selection"]) == {"step 6"}
    for wrong in (["--checkpoint", "5"], ["--checkpoint", "best", "--features", "x.npz"]):
        with pytest.raises(SystemExit):
            evaluate.main([str(copied), *wrong])
    said = capsys.readouterr().err
    assert f"expected last, best or a step that {copied} keeps (4, 6); found 5" in said
    assert "--checkpoint: chooses the weights of a run; --features has none" in said


def test_the_best_is_tested_where_it_is_selected(copied, arguments):
    (copied / "finished").unlink()  # as if it had been stopped before its evaluation
    (copied / "results.csv").unlink()
    run(arguments, "whole", *OFTEN, "validation.selection=best")
    rows = read_rows(copied / "results.csv")
    assert set(rows["selection"]) == {"best_on_validation"} and set(rows["split"]) == {"test"}
    assert set(rows["epoch"]) == {facts(copied / "best.safetensors")["epoch"]}


def test_a_run_that_was_stopped_after_every_step_ends_as_an_uninterrupted_one(
    arguments, validated, monkeypatch, tmp_path, assert_equal
):
    monkeypatch.setenv("STOP_FILE", str(tmp_path))
    for step in range(1, 6):
        folder = run(arguments, "stopped", *OFTEN)
        if step == 2:  # a kill after its checkpoint: the first validation is always the best so far
            (folder / "best.safetensors").unlink()
    monkeypatch.delenv("STOP_FILE")
    run(arguments, "stopped", *OFTEN)
    assert_equal(weights(validated), weights(folder))
    assert_equal(load_file(validated / "best.safetensors"), load_file(folder / "best.safetensors"))
    found = [read_metrics(path / "metrics.csv").set_index("step")[[*VALIDATION]] for path in (validated, folder)]
    pd.testing.assert_frame_equal(found[0].dropna(), found[1].dropna())


def stand_in(monkeypatch, values):
    """Validations that find these values of mAP, one after the other."""
    left = iter(values)
    monkeypatch.setattr(Validator, "measure", lambda *_: {"mAP": next(left), "rank_1": 1.0, "mINP": 2.0})


def test_a_training_ends_early_and_does_not_train_on(arguments, monkeypatch, tmp_path, assert_equal, capsys):
    early = ["train.epochs=9", "validation.every_epochs=1", "validation.patience=2", "validation.selection=best"]
    stand_in(monkeypatch, [10.0, 20.0, 15.0, 20.0])
    folder = run(arguments, "early", *early)
    rows = read_metrics(folder / "metrics.csv").dropna(subset=["val_mAP"])
    assert rows["val_mAP"].tolist() == [10, 20, 15, 20] and rows["step"].tolist() == [2, 4, 6, 8]
    assert facts(folder / "model.safetensors")["epoch"] == "4" and facts(folder / "best.safetensors")["epoch"] == "2"
    assert (read_rows(folder / "results.csv")["epoch"] == "2").all() and (folder / "finished").exists()
    assert "the last 2 were no better: the training ends" in (folder / "log.txt").read_text()
    before = weights(folder)
    for name in ("model.safetensors", "finished"):
        (folder / name).unlink()
    run(arguments, "early", *early)  # as after a kill before the weights were written
    assert_equal(weights(folder), before)
    assert read_metrics(folder / "metrics.csv")["step"].max() == 8
    with pytest.raises(SystemExit):
        run(arguments, "early", *early, "train.epochs=12")
    assert "it was ended by validation.patience=2" in capsys.readouterr().err


def test_more_epochs_are_those_of_a_training_that_had_them_from_the_start(
    arguments, copied, monkeypatch, assert_equal, capsys
):
    whole = run(arguments, "longer", *OFTEN, "train.epochs=4")
    third = weights(copied)
    run(arguments, "whole", *OFTEN, "train.epochs=4")
    assert_equal(weights(whole), weights(copied))
    assert_equal(load_file(whole / "best.safetensors"), load_file(copied / "best.safetensors"))
    assert_equal(third, load_file(copied / "model-epoch-3.safetensors"))
    rows = read_rows(copied / "results.csv")
    assert rows["epoch"].tolist() == ["3", "3", "4", "4"] and (copied / "finished").exists()
    of_start = read_rows(whole / "results.csv")
    same = ["mAP", "rank_1", "mINP", "config", "recipe", "epoch", "queries"]
    pd.testing.assert_frame_equal(rows[same].iloc[2:].reset_index(drop=True), of_start[same])
    curves = [read_metrics(folder / "metrics.csv").dropna(subset=["val_mAP"]) for folder in (whole, copied)]
    np.testing.assert_array_equal(*(curve[["step", *VALIDATION]].to_numpy() for curve in curves))
    with pytest.raises(SystemExit):
        run(arguments, "whole", *OFTEN, "train.epochs=2")
    assert "belongs to a run with train.epochs=4; found 2" in capsys.readouterr().err


@pytest.mark.parametrize("more", [["data.train_splits=[train]"], ["validation.identities=0.4"]], ids=["val", "share"])
def test_sysu_is_validated_by_all_search_on_its_own_split_or_a_share(tiny, tmp_path, more):
    generate("sysu", tmp_path / "set", identities=20, images_per_camera=1, seed=0, workers=1)
    words = [word for word in tiny if not word.startswith(("data.", "batch.ids_per_batch"))]
    words += ["batch.ids_per_batch=2", "validation.every_epochs=1", "train.epochs=1", "train.steps_per_epoch=1"]
    train.main(["configs/sysu.yaml", *words, f"data.root={tmp_path / 'set'}", f"output={tmp_path}", "name=run", *more])
    split = "val" if more[0].startswith("data") else "validation"
    assert set(read_rows(tmp_path / "run" / "results.csv")["gallery_rule"]) == {"official"}
    (tmp_path / "run" / "results.csv").unlink()
    evaluate.main([str(tmp_path / "run"), f"data.test_split={split}"])
    rows = read_rows(tmp_path / "run" / "results.csv")
    assert set(rows["mode"]) == {"all"} and set(rows["gallery_rule"]) == {"random_seed"} and len(rows) == 10
    (point,) = read_metrics(tmp_path / "run" / "metrics.csv")[["val_mAP", "val_rank_1", "val_mINP"]].to_numpy()
    np.testing.assert_allclose(curve_point(rows), point, rtol=1e-12)
