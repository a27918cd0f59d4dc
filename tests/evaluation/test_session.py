"""One way to evaluate: what a session is opened from, and that everybody gets the same of it."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from pipeline import train
from pipeline.config import load_config
from pipeline.evaluation import restore as module
from pipeline.evaluation.evaluator import evaluate_features
from pipeline.evaluation.feature_files import read_features
from pipeline.evaluation.features import choose_extractor
from pipeline.evaluation.model_info import ModelInfo
from pipeline.evaluation.per_query import queries_file
from pipeline.evaluation.results import METRICS, read_rows
from pipeline.evaluation.session import evaluate, finish, open_session, read_evaluation_arguments
from pipeline.figures.evaluated_run import EvaluatedRun
from pipeline.run.trained import weights_path


@pytest.fixture(scope="module")
def run(people, tiny, tmp_path_factory):
    """The folder of a finished run on `people`."""
    output = tmp_path_factory.mktemp("runs")
    short = ["train.epochs=1", "train.steps_per_epoch=2", "name=run", f"output={output}", f"data.root={people}"]
    train.main(["configs/folder.yaml", *tiny, *short])
    AcceleratorState._reset_state(reset_partial_state=True)
    return output / "run"


def test_a_run_and_a_configuration_become_settings(run):
    settings, kept = read_evaluation_arguments([str(run), "evaluation.flip=true"])
    assert settings.evaluation.flip and not kept.evaluation.flip
    assert (settings.name, settings.output) == (kept.name, kept.output) == ("run", str(run.parent))
    assert dataclasses.replace(settings, evaluation=kept.evaluation) == kept
    moved = run.rename(run.with_name("moved"))
    settings, _ = read_evaluation_arguments([str(moved)])
    assert settings.name == "moved", "rows are of the run that the folder is called now"
    moved.rename(run)
    settings, kept = read_evaluation_arguments(["configs/demo.yaml", "seed=7"])
    assert kept is None and (settings.name, settings.seed) == ("demo-seed7", 7)


def test_an_evaluation_is_that_of_the_training_and_keeps_nothing_until_it_is_finished(run, tmp_path):
    before, weights = read_rows(run / "results.csv"), weights_path(run).read_bytes()
    session = open_session([str(run)])
    evaluation = evaluate(session)
    made = evaluation.result.trial_results
    np.testing.assert_array_equal(made[METRICS].to_numpy(), before[METRICS].to_numpy())
    assert made["evaluation"].tolist() == before["evaluation"].tolist() == list(evaluation.result.query_metrics)
    for row, scores in zip(made.itertuples(), evaluation.result.scores, strict=True):
        kept = pd.read_parquet(queries_file(run, row.evaluation))
        pd.testing.assert_frame_equal(evaluation.result.query_metrics[row.evaluation].reset_index(drop=True), kept)
        assert row.mAP == 100 * scores.mAP and row.rank_10 == 100 * scores.cmc[9]
    queries = {path: path.stat().st_mtime_ns for path in (run / "queries").iterdir()}
    other = dataclasses.replace(session, settings=dataclasses.replace(session.settings, output=str(tmp_path)))
    finish(other, evaluation.result)
    pd.testing.assert_frame_equal(read_rows(tmp_path / "run" / "results.csv"), before)
    assert {path: path.stat().st_mtime_ns for path in (run / "queries").iterdir()} == queries
    assert weights_path(run).read_bytes() == weights


def test_figures_have_the_same_features_by_row_of_the_index(run, tmp_path):
    evaluation = evaluate(open_session([str(run)]), tmp_path / "f.npz")
    adapted = EvaluatedRun.of(evaluation)
    session, index = evaluation.session, evaluation.session.index
    assert evaluation.rows.tolist() == np.flatnonzero(index["split"] == "test").tolist()
    saved, _ = read_features(tmp_path / "f.npz", index, evaluation.rows, session.settings.data)
    assert torch.equal(adapted.features, saved) and adapted.network is evaluation.extractor.network
    assert adapted.features[torch.from_numpy(np.flatnonzero(index["split"] == "train"))].abs().max() == 0
    context = {"run": "whole index"}
    whole = evaluate_features(adapted.features, index, adapted.trials, session.settings, context)
    for first, second in zip(whole.scores, adapted.scores, strict=True):
        np.testing.assert_array_equal(first.average_precision, second.average_precision)
        np.testing.assert_array_equal(first.cmc, second.cmc)


def test_raw_pixels_need_no_network(run, people, tiny, monkeypatch):
    def fail(*everything):
        raise AssertionError("a network is built")

    monkeypatch.setattr(module, "restore_network", fail)
    for arguments in ([str(run)], ["configs/folder.yaml", *tiny, f"data.root={people}"]):
        evaluation = evaluate(open_session([*arguments, "evaluation.extractor=pixels"]))
        assert evaluation.extractor.network is None and evaluation.features.shape[1] == 32 * 16
        assert (evaluation.result.trial_results["feature"] == "pixels").all()
    with pytest.raises(AssertionError, match="a network is built"):
        evaluate(open_session([str(run)]))


def test_fusion_that_cannot_be_is_an_error_before_a_network_is_built(tiny):
    settings = load_config(
        [*tiny, "batch.modalities=[visible,infrared]", "losses.cross.weight=0", "evaluation.fusion=mean"]
    )
    with pytest.raises(ValueError, match=r"evaluation\.fusion: mean needs derivatives trained on"):
        choose_extractor(settings, Accelerator(cpu=True), lambda: pytest.fail("a network is built"))


def test_what_is_known_of_a_network_is_read_as_it_was_saved(run, tmp_path):
    _, kept = read_evaluation_arguments([str(run)])
    info = ModelInfo.load(weights_path(run), kept)
    assert info.epoch == 1 and info.training.train_set != "none" and len(info.recipe) == 8
    info.save(torch.nn.Linear(2, 3), tmp_path / "model.safetensors", identities=9)
    assert ModelInfo.load(tmp_path / "model.safetensors", kept) == info
