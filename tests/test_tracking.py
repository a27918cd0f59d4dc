"""Trackers: TensorBoard's own files, and a stand-in for W&B that says what it was asked."""

import json
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from accelerate import PartialState

from pipeline.config import load_config
from pipeline.tracking import Trackers


@pytest.fixture()
def begin(tmp_path):
    """Starts the trackers of a run folder."""
    PartialState(cpu=True)  # without which Accelerate's trackers don't log

    def started(names, step, *more):
        settings = load_config([f"output={tmp_path}", "name=run", f"train.trackers=[{','.join(names)}]", *more])
        trackers = Trackers(settings.train.trackers)
        trackers.start(settings, tmp_path, step)
        return trackers

    return started


class FakeWandb(SimpleNamespace):
    """As much of W&B as is used. `fails`: the calls that raise."""

    def __init__(self, fails=()):
        super().__init__(calls=[], fails=fails, config=SimpleNamespace(update=self.answer("config")))
        self.init = self.answer("init", self)
        self.log, self.finish = self.answer("log"), self.answer("finish")

    def answer(self, name, result=None):
        def called(*values, **options):
            self.calls.append((name, values, options))
            if name in self.fails:
                raise RuntimeError("no\nnetwork")
            return result

        return called

    def made(self, name):
        return [(values, options) for found, values, options in self.calls if found == name]


@pytest.fixture()
def wandb(monkeypatch):
    def installed(fails=()):
        fake = FakeWandb(fails)
        monkeypatch.setitem(sys.modules, "wandb", fake)
        return fake

    return installed


def scalars(folder, name):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    return [(event.step, event.value) for event in events.EventAccumulator(str(folder)).Reload().Scalars(name)]


def test_tensorboard_has_each_step_once_after_a_kill(begin, tmp_path):
    killed = begin(["tensorboard"], 0)
    for step in range(1, 9):
        killed.log({"loss": float(step)}, step)
    folders = {path for path in (tmp_path / "run").iterdir() if path.is_dir()}  # of the settings
    resumed = begin(["tensorboard"], 5)
    for step in range(6, 11):
        resumed.log({"loss": 100.0 + step}, step)
    resumed.finish()
    again = begin(["tensorboard"], None)  # only to evaluate
    again.log({"test/all/mAP": 50.0}, 11)
    again.finish()
    expected = [(step, step + (100.0 if step > 5 else 0.0)) for step in range(1, 11)]
    assert scalars(tmp_path / "run", "loss") == expected
    assert scalars(tmp_path / "run", "test/all/mAP") == [(11, 50.0)]
    assert {path for path in (tmp_path / "run").iterdir() if path.is_dir()} == folders  # which are there once


def test_tensorboard_forgets_a_run_that_begins_anew(begin, tmp_path):
    for start in (1, 2):
        trackers = begin(["tensorboard"], 0)
        for step in range(start, 4):
            trackers.log({"loss": float(10 * start + step)}, step)
    assert scalars(tmp_path / "run", "loss") == [(2, 22.0), (3, 23.0)]


def test_wandb_goes_on_with_the_run_whose_id_is_kept(begin, wandb, tmp_path):
    fake = wandb()
    for step in (0, 5, None):
        begin(["wandb"], step, "train.wandb_project=cameras").finish()
    (_, first), *others = fake.made("init")
    asked = {"project": "cameras", "name": "run", "resume": "allow", "dir": str(tmp_path)}
    assert first == asked | {"id": first["id"]}
    assert [options for _, options in others] == [first, first] and len(fake.made("finish")) == 3
    assert json.loads((tmp_path / "tracking.json").read_text()) == {"wandb_id": first["id"]}
    begin(["wandb"], 0)  # another training in the same folder
    assert fake.made("init")[-1][1]["id"] != first["id"]


def test_wandb_gets_settings_metrics_and_results(begin, wandb):
    fake = wandb()
    trackers = begin(["wandb"], 0)
    trackers.log({"loss": 1.5}, 7)
    assert fake.made("log") == [(({"loss": 1.5},), {"step": 7})]
    ((settings,), _) = fake.made("config")[0]
    assert settings["optimizer.lr"] == "0.1" and settings["name"] == "run"


def test_images_are_tracked_at_their_step(begin, wandb, tmp_path):
    fake = wandb()
    fake.Image = lambda pixels: ("image", pixels.shape, int(pixels.sum()))
    trackers = begin(["tensorboard", "wandb"], 0)
    trackers.log_image("images", np.full((4, 6, 3), 2, np.uint8), 5)
    trackers.finish()
    assert fake.made("log") == [(({"images": [("image", (4, 6, 3), 144)]},), {"step": 5})]
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    (image,) = events.EventAccumulator(str(tmp_path / "run")).Reload().Images("images")
    assert (image.step, image.height, image.width) == (5, 4, 6)


def test_the_time_that_wandb_may_take_is_bounded_unless_the_user_says_otherwise(begin, wandb, monkeypatch):
    wandb()
    monkeypatch.delenv("WANDB_FINISH_TIMEOUT", raising=False)
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "7")
    begin(["wandb"], 0)
    assert os.environ["WANDB_INIT_TIMEOUT"] == "7" and float(os.environ["WANDB_FINISH_TIMEOUT"]) <= 60


@pytest.mark.parametrize("fails", ["init", "config", "log", "finish"])
def test_a_tracker_that_fails_is_left_out_with_a_line_and_the_others_go_on(begin, wandb, tmp_path, caplog, fails):
    fake = wandb(fails=[fails])
    trackers = begin(["wandb", "tensorboard"], 0)
    for step in (1, 2, 3):
        trackers.log({"loss": 1.0}, step)
    trackers.finish()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        "train.trackers: wandb failed and is left out from now on (RuntimeError: no network)"
    )
    assert len(fake.made(fails)) == 1, "it was asked again"
    assert len(fake.made("log")) == {"init": 0, "config": 0, "log": 1, "finish": 3}[fails]
    assert scalars(tmp_path / "run", "loss") == [(1, 1.0), (2, 1.0), (3, 1.0)]


def test_a_kept_id_that_cannot_be_read_leaves_the_tracker_out(begin, wandb, tmp_path, caplog):
    wandb()
    (tmp_path / "tracking.json").write_text("{")
    assert begin(["wandb"], 5).running == {}
    assert "wandb failed and is left out from now on (JSONDecodeError" in caplog.text


def test_other_ranks_have_none(tmp_path, wandb):
    fake = wandb()
    trackers = Trackers()
    trackers.start(load_config(["train.trackers=[wandb]", "name=run"]), tmp_path, 0)
    trackers.log({"loss": 1.0}, 1)
    trackers.finish()
    assert fake.calls == [] and [*tmp_path.iterdir()] == []
