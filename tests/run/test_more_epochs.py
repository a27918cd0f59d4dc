"""More epochs for a run that has begun: what is refused, and what is kept of the shorter training."""

import pytest
import torch
from safetensors.torch import load_file

from pipeline.config import load_config
from pipeline.optimization import depends_on_length, learning_rate_factor
from pipeline.run.checkpoint import save_weights
from pipeline.run.folder import check_same_run, is_finished, mark_finished, open_run, settings_of
from pipeline.run.trained import best_path, is_trained, weights_path


@pytest.fixture()
def arguments(tmp_path):
    return [f"output={tmp_path}", "name=run"]


def begin(folder, step=40):
    (folder / "checkpoints" / f"step-{step:08d}").mkdir(parents=True)


def finish(folder, epoch=80, **facts):
    header = {"epoch": str(epoch), "training": "{}", "step": "40"} | facts
    save_weights(torch.nn.Linear(2, 3), weights_path(folder), header)
    mark_finished(folder)


def test_a_finished_run_of_more_epochs_is_no_longer_trained_and_keeps_its_weights(arguments):
    folder = open_run(load_config(arguments))
    begin(folder)
    finish(folder)
    save_weights(torch.nn.Linear(2, 3), best_path(folder))
    last, best = (load_file(path) for path in (weights_path(folder), best_path(folder)))
    longer = load_config([*arguments, "train.epochs=100"])
    check_same_run(longer, folder)
    assert is_finished(folder) and not is_finished(folder, longer)  # looking changes nothing
    assert is_finished(folder, load_config(arguments))
    open_run(longer)
    assert not is_trained(folder) and not (folder / "finished").exists()
    assert settings_of(folder).train.epochs == 100
    for name, before in (("model", last), ("best", best)):
        kept = load_file(folder / f"{name}-epoch-80.safetensors")
        assert all(torch.equal(kept[tensor], before[tensor]) for tensor in before)
    assert best_path(folder).exists()
    with pytest.raises(ValueError, match=r"train\.epochs=100; found 80"):
        open_run(load_config(arguments))


def test_a_kill_while_the_weights_are_renamed_leaves_a_run_that_goes_on(arguments, monkeypatch):
    folder = open_run(load_config(arguments))
    begin(folder)
    finish(folder)
    longer = load_config([*arguments, "train.epochs=100"])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("pipeline.run.more_epochs.Path.rename", lambda *paths: (_ for _ in ()).throw(KeyboardInterrupt))
        open_run(longer)
    assert is_trained(folder) and not is_finished(folder), "evaluated again, or taken up"
    open_run(longer)
    assert (folder / "model-epoch-80.safetensors").exists() and not is_trained(folder)


def test_an_unfinished_run_may_get_more_epochs_too(arguments):
    folder = open_run(load_config(arguments))
    begin(folder)
    open_run(load_config([*arguments, "train.epochs=100"]))
    assert settings_of(folder).train.epochs == 100


@pytest.mark.parametrize(
    ("more", "facts", "step", "message"),
    [
        (["optimizer.schedule=cosine"], {}, 40, r"learning rate depends on the length \(optimizer\.schedule=cosine\)"),
        (["optimizer.schedule_unit=share"], {}, 40, r"depends on the length \(optimizer\.schedule_unit=share\)"),
        ([], {}, 20, "the checkpoint of its last step, 40, is gone"),
        (
            ["validation.patience=2"],
            {"epoch": "80", "ended_early": "yes"},
            40,
            r"it was ended by validation\.patience=2",
        ),
        (["validation.every_epochs=3"], {}, 40, r"isn't validated after epoch 80 \(validation\.every_epochs=3\)"),
    ],
)
def test_runs_that_a_longer_training_would_not_have_been_are_errors(arguments, more, facts, step, message):
    folder = open_run(load_config([*arguments, *more]))
    begin(folder, step)
    finish(folder, **facts)
    with pytest.raises(ValueError, match=message) as error:
        open_run(load_config([*arguments, *more, "train.epochs=100"]))
    assert "train.epochs=80; found 100. It can't go on" in str(error.value) and "\n" not in str(error.value)
    assert is_finished(folder) and not list(folder.glob("*-epoch-*"))


def test_weights_of_a_version_that_kept_no_steps_are_an_error(arguments):
    folder = open_run(load_config(arguments))
    begin(folder)
    save_weights(torch.nn.Linear(2, 3), weights_path(folder), {"epoch": "80"})
    with pytest.raises(ValueError, match="of a version that didn't keep the number of its steps"):
        open_run(load_config([*arguments, "train.epochs=100"]))


def test_fewer_epochs_and_other_settings_beside_more_epochs_are_errors(arguments):
    folder = open_run(load_config(arguments))
    begin(folder)
    finish(folder)
    with pytest.raises(ValueError, match=r"train\.epochs=80; found 60"):
        open_run(load_config([*arguments, "train.epochs=60"]))
    with pytest.raises(ValueError, match=r"optimizer\.lr=0\.1; found 0\.2"):
        open_run(load_config([*arguments, "train.epochs=100", "optimizer.lr=0.2"]))
    assert is_finished(folder)


@pytest.mark.parametrize("schedule", ["step", "cosine"])
def test_a_schedule_depends_on_the_length_where_any_of_its_rates_does(schedule):
    settings = load_config([f"optimizer.schedule={schedule}"]).optimizer
    rates = [[learning_rate_factor(epoch, epochs, settings) for epoch in range(60)] for epochs in (60, 90)]
    assert depends_on_length(settings) == (rates[0] != rates[1])


def test_a_run_is_finished_with_the_weights_that_it_was_tested_with(arguments):
    folder = open_run(load_config(arguments))
    begin(folder)
    finish(folder)
    validated = [*arguments, "validation.every_epochs=1"]
    assert is_finished(folder, load_config(validated))
    assert not is_finished(folder, load_config([*validated, "validation.selection=best"]))
    mark_finished(folder, "best")
    assert is_finished(folder, load_config([*validated, "validation.selection=best"]))
    (folder / "finished").write_text("2026-01-01 12:00:00\n")  # as versions before wrote it
    assert is_finished(folder, load_config(validated))
