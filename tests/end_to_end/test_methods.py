"""Methods put together from parts, trained by the real entry point: resumed as uninterrupted, saved and evaluated."""

import pandas as pd
import pytest

from pipeline import evaluate, train
from pipeline.run.checkpoint import checkpoints
from tests.end_to_end.runs import SHORT, run, weights
from tests.methods.parts import CENTER, TWO_PLAYERS

PARTS = {
    "terms with parameters": [
        *(f"losses.center.type={CENTER}", "losses.center.weight=0.001"),
        *("losses.adversary.ramp_steps=5", "losses.collaborative.teacher=ensemble", "losses.views.weight=0.1"),
        "optimizer.clip_grad_norm=1",
    ],
    "two optimizers": [f"method.type={TWO_PLAYERS}"],
    "rounds of a whole trunk's embedding": [
        *("method.type=decorrelation", "method.rounds=2", "method.rounds_begin=0.2", "heads.global.type=embedding"),
        *("heads.global.width=16", "heads.global.classifier=sphere", "model.input=gray", "model.stem_depth=stage4"),
    ],
    "inserts and heads": [
        *("inserts.non_local.at=[layer2,layer3.0]", "heads.stripes.count=2", "heads.stripes.width=8"),
        *("heads.global.classifiers=source", "losses.cross.features=[global]", "train.ema=0.5"),
    ],
}


@pytest.fixture()
def arguments(people, tiny, tmp_path):
    return ["configs/folder.yaml", *tiny, *SHORT, f"data.root={people}", f"output={tmp_path}"]


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_a_method_of_parts_is_resumed_as_if_uninterrupted_and_evaluated(
    arguments, parts, tmp_path, monkeypatch, assert_equal
):
    method = [*parts, *arguments]
    whole = run(method, "whole")
    stop_file = tmp_path / "stop"
    stop_file.touch()
    monkeypatch.setenv("STOP_FILE", str(stop_file))
    folder = run(method, "stopped")
    assert len(checkpoints(folder / "checkpoints")) == 1 and not (folder / "model.safetensors").exists()
    stop_file.unlink()
    assert_equal(weights(whole), weights(run(method, "stopped")))
    before = pd.read_csv(whole / "results.csv")
    evaluate.main([str(whole)])
    pd.testing.assert_frame_equal(pd.read_csv(whole / "results.csv"), before)
    terms = {name.split(".")[1] for name in (part.partition("=")[0] for part in parts) if name.startswith("losses.")}
    assert terms <= set(pd.read_csv(whole / "metrics.csv"))


def test_each_optimizer_follows_its_own_schedule(arguments, assert_equal):
    """In the first epoch of two the heads' optimizer rests, and their weights stay what they were."""
    first = weights(run([f"method.type={TWO_PLAYERS}", *arguments], "first", "train.epochs=1"))
    both = weights(run([f"method.type={TWO_PLAYERS}", *arguments], "both"))
    none = weights(run([f"method.type={TWO_PLAYERS}", *arguments], "none", "train.epochs=1", "train.steps_per_epoch=1"))
    heads = [
        name for name in first if name.startswith("heads.") and "running" not in name and "num_batches" not in name
    ]
    assert_equal({name: first[name] for name in heads}, {name: none[name] for name in heads})
    changed = {name for name in first if not first[name].equal(none[name])}
    assert changed and not changed & set(heads)
    assert not both["heads.global.classifier.weight"].equal(first["heads.global.classifier.weight"])


def test_a_run_with_other_parts_is_not_mixed_into_a_run(arguments, monkeypatch, tmp_path, capsys):
    run(arguments, "plain")
    for override, said in (
        (f"losses.center.type={CENTER}", "losses.center.type"),
        ("losses.cross=null", "losses.cross."),
        ("inserts.non_local.at=layer2", "inserts.non_local."),
    ):
        with pytest.raises(SystemExit):
            train.main([*arguments, "name=plain", override])
        assert f"belongs to a run with {said}" in capsys.readouterr().err
