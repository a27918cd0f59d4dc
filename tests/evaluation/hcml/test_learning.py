"""A run's projection: learned once from the images it was trained on, then applied to all that is tested."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load, load_file, save_file

from pipeline import evaluate, train
from pipeline.api import load_run
from pipeline.batch import Modality
from pipeline.build import build_divided_index
from pipeline.datasets.held_out import validation_settings
from pipeline.evaluation.feature_files import read_features
from pipeline.evaluation.features import extract_features
from pipeline.evaluation.hcml import learning, solver
from pipeline.evaluation.hcml.learning import projection_path
from pipeline.evaluation.hcml.projection import learn_projection
from pipeline.evaluation.restore import choose_trained, load_extractor
from pipeline.evaluation.results import METRICS, read_rows, summarize
from pipeline.evaluation.session import evaluate as evaluate_session
from pipeline.evaluation.session import open_session, read_evaluation_arguments
from pipeline.run.checkpoint import weights_facts
from pipeline.run.metrics import read_metrics
from pipeline.run.trained import weights_path
from pipeline.tables.lines import lines_of
from tests.end_to_end.runs import refusal

HCML = ["evaluation.projection=hcml", "evaluation.metric=euclidean"]


@pytest.fixture(scope="module", autouse=True)
def soon():
    """How well the objective is minimized isn't asked here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solver, "ITERATIONS", 20)
        yield


@pytest.fixture(scope="module")
def trained(people, tiny, tmp_path_factory):
    """The folder of a run that was trained and evaluated with a projection, of which some identities are held out."""
    output = tmp_path_factory.mktemp("trained")
    short = ["train.epochs=1", "train.steps_per_epoch=4", "train.checkpoint_steps=2"]
    data = ["data.test_fraction=0.34", f"data.root={people}", f"output={output}", "name=run"]
    validation = ["validation.identities=0.25", "validation.every_epochs=1"]
    train.main(["configs/folder.yaml", *tiny, *short, *data, *validation, *HCML])
    return output / "run"


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def never(monkeypatch):
    """Nothing may be learned."""
    monkeypatch.setattr(learning, "learn_projection", lambda *arguments: pytest.fail("a projection is learned"))


def rows_of(folder):
    return read_rows(folder / "results.csv")


def test_a_training_ends_with_a_projection_which_its_rows_name(trained):
    rows = rows_of(trained)
    assert (rows["projection"] == "hcml").all() and (rows["metric"] == "euclidean").all()
    tensors = load_file(projection_path(trained))
    assert {name: tensor.dtype for name, tensor in tensors.items()} == dict.fromkeys(
        ("mean", "basis", "visible", "infrared"), torch.float64
    )
    (line,) = lines_of(summarize(rows), "direction")
    assert line.name == "run (projection=hcml)"


def test_it_is_learned_from_images_as_captured_whatever_is_tested(run):
    before = load_file(projection_path(run))
    projection_path(run).unlink()
    evaluate.main([str(run), "evaluation.corruption=fog"])
    for name, tensor in load_file(projection_path(run)).items():
        assert torch.equal(tensor, before[name]), name
    assert rows_of(run)["corruption"].tolist() == ["none", "none", "fog", "fog"]


def test_it_is_learned_once_and_used_again(run, never):
    before, content = rows_of(run), projection_path(run).read_bytes()
    evaluate.main([str(run)])
    pd.testing.assert_frame_equal(rows_of(run), before)
    assert projection_path(run).read_bytes() == content


def test_it_is_what_is_learned_from_the_features_of_the_training_images(trained, never):
    session = open_session([str(trained)])
    raw = dataclasses.replace(
        session.settings, evaluation=dataclasses.replace(session.settings.evaluation, projection="none")
    )
    extractor = load_extractor(raw, choose_trained(session.kept, session.accelerator), None, session.accelerator)
    index = build_divided_index(session.kept)
    assert set(index["split"]) == {"train", "test", "validation"}
    rows = np.flatnonzero(index["split"] == "train")
    features = extract_features(extractor, index, rows, raw, session.accelerator)
    identities, infrared = index["identity"].to_numpy()[rows], index["modality"].to_numpy()[rows] == 1
    labels = np.unique(identities, return_inverse=True)[1]
    projection = learn_projection(features, torch.from_numpy(labels), torch.from_numpy(infrared))
    evaluation = evaluate_session(session)
    tested = extract_features(extractor, session.index, evaluation.rows, raw, session.accelerator)
    project = projection.function(torch.device("cpu"))
    assert evaluation.features.shape == (len(evaluation.rows), len(rows) - 1)  # as many as there are components
    for modality in (Modality.VISIBLE, Modality.INFRARED):
        own = torch.from_numpy(session.index["modality"].to_numpy()[evaluation.rows] == int(modality))
        expected, found = project(tested[own], modality), evaluation.features[own]
        # Components may point the other way: what is compared is distances.
        torch.testing.assert_close(torch.cdist(found, found), torch.cdist(expected, expected), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "change", [["evaluation.flip=true", "evaluation.feature=pooled"], ["train.precision=bf16"], ["--checkpoint", "2"]]
)
def test_other_features_are_learned_from_anew(run, change):
    before = load_file(projection_path(run))
    evaluate.main([str(run), *change])
    after = load_file(projection_path(run))
    assert (before["mean"] - after["mean"]).abs().max() > 1e-6
    content = projection_path(run).read_bytes()
    evaluate.main([str(run), *change])
    assert projection_path(run).read_bytes() == content
    assert len(rows_of(run)) == 4


def test_other_weights_are_learned_from_anew(run):
    before = projection_path(run).read_bytes()
    tensors, facts = load_file(weights_path(run)), weights_facts(weights_path(run))
    name = next(name for name, tensor in tensors.items() if tensor.ndim == 4)
    save_file(tensors | {name: tensors[name].flip(0)}, weights_path(run), facts)
    evaluate.main([str(run)])
    assert projection_path(run).read_bytes() != before


def test_a_damaged_file_is_learned_anew(run, caplog):
    path = projection_path(run)
    before, rows = load(path.read_bytes()), rows_of(run)
    path.write_bytes(path.read_bytes()[:-100])
    evaluate.main([str(run)])
    assert f"{path}: can't be read" in caplog.text
    assert all(torch.equal(tensor, before[name]) for name, tensor in load_file(path).items())
    pd.testing.assert_frame_equal(rows_of(run), rows)


def test_a_run_without_one_gets_it_when_it_is_asked_for(run):
    projection_path(run).unlink()
    evaluate.main([str(run), "evaluation.projection=none"])
    assert not projection_path(run).exists()
    evaluate.main([str(run)])
    assert projection_path(run).exists()
    rows = rows_of(run)
    assert rows["projection"].tolist() == ["none", "none", "hcml", "hcml"]
    assert set(rows["mAP"][:2]).isdisjoint(rows["mAP"][2:])


def test_features_are_embedded_and_saved_as_they_are_compared(trained, tmp_path, never):
    session = open_session([str(trained)])
    file = tmp_path / "features.npz"
    evaluation = evaluate_session(session, file)
    saved, origin = read_features(file, session.index, evaluation.rows, session.settings.data)
    assert torch.equal(saved[evaluation.rows], evaluation.features) and origin["projection"] == "hcml"
    loaded = load_run(trained)
    for modality in (Modality.VISIBLE, Modality.INFRARED):
        own = session.index["modality"].to_numpy()[evaluation.rows] == int(modality)
        found = loaded.embed(session.index["path"].to_numpy()[evaluation.rows[own]], modality.key)
        torch.testing.assert_close(found, evaluation.features[torch.from_numpy(own)], rtol=1e-4, atol=1e-4)
    again = ["--features", str(file), "--dataset", "folder", "--root", session.settings.data.root]
    split = ["data.test_fraction=0.34", "evaluation.metric=euclidean", f"output={tmp_path}", "name=again"]
    evaluate.main([*again, *split])
    rows = rows_of(tmp_path / "again")
    assert (rows["projection"] == "hcml").all()
    np.testing.assert_allclose(rows[METRICS], rows_of(trained)[METRICS], atol=1e-6)


def test_validations_compare_the_features_themselves(trained, never):
    settings, kept = read_evaluation_arguments([str(trained), "data.test_split=validation"])
    assert settings.evaluation.projection == "none" == validation_settings(kept, "validation").evaluation.projection
    asked, _ = read_evaluation_arguments([str(trained), "data.test_split=validation", HCML[0]])
    assert kept.evaluation.projection == asked.evaluation.projection == "hcml"
    evaluation = evaluate_session(open_session([str(trained), "data.test_split=validation"]))
    validated = read_metrics(trained / "metrics.csv")["val_mAP"].iloc[-1]
    assert evaluation.result.trial_results["mAP"].mean() == pytest.approx(validated, abs=1e-4)


# ---------------------------------------------------------------- what can't be


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["evaluation.extractor=pixels"], "hcml is learned from features of a network; found extractor=pixels"),
        (
            ["evaluation.fusion=mean"],
            "hcml takes features of images without their derivatives; found evaluation.fusion=mean",
        ),
        (
            ["batch.modalities=visible", "losses.cross=null"],
            "hcml is learned from people trained on in both modalities; found batch.modalities=visible",
        ),
    ],
)
def test_settings_without_a_projection_are_refused_before_a_training(people, tiny, tmp_path, capsys, more, message):
    arguments = ["configs/folder.yaml", *tiny, f"data.root={people}", f"output={tmp_path}", "name=x", *HCML, *more]
    for main in (train.main, evaluate.main):
        assert f"evaluation.projection: {message}" in refusal(main, arguments, capsys)
    assert not (tmp_path / "x").exists()


def test_an_untrained_network_has_none(people, tiny, tmp_path, capsys):
    arguments = ["configs/folder.yaml", *tiny, f"data.root={people}", f"output={tmp_path}", "name=x", *HCML]
    expected = "evaluation.projection: hcml is learned after a training; expected a trained run, found none"
    assert expected in refusal(evaluate.main, arguments, capsys)


def test_features_of_a_file_get_none(tmp_path, capsys):
    arguments = ["--features", tmp_path / "f.npz", "--dataset", "folder", HCML[0]]
    assert "evaluation.projection=hcml: says how a network's features are made" in refusal(
        evaluate.main, arguments, capsys
    )


def test_a_run_whose_data_set_is_gone_is_loaded_without_a_projection_only(run, tmp_path, people):
    nowhere = f"data.root={tmp_path / 'nowhere'}"
    assert load_run(run, nowhere).embed([image := next(people.rglob("*.jpg"))], "visible").shape == (1, 95)
    projection_path(run).unlink()
    with pytest.raises(
        ValueError, match=r"evaluation\.projection: hcml is learned from the training images: .*nowhere"
    ):
        load_run(run, nowhere)
    assert load_run(run, nowhere, "evaluation.projection=none").embed([image], "visible").shape == (1, 96)


def test_training_images_that_have_changed_are_one_line(run, people, tmp_path, capsys):
    projection_path(run).unlink()
    moved = shutil.copytree(people, tmp_path / "moved")
    where = f"data.root={moved}"
    evaluate.main([str(run), where])
    content = projection_path(run).read_bytes()
    seen = next(iter(json.loads((run / "training_data.json").read_text())["identities"]))
    next((moved / "visible" / seen).rglob("*.jpg")).unlink()
    evaluate.main([str(run), where])
    assert projection_path(run).read_bytes() == content, "what is learned needs no images any more"
    projection_path(run).unlink()
    found = refusal(evaluate.main, [run, where], capsys)
    expected = f"evaluation.projection: hcml is learned from what {run} was trained on; found other data in {moved}"
    assert f"{expected}: identity {seen} has other images" in found
    assert not projection_path(run).exists()
