"""Several processes by the real launcher, on the CPU: one objective whatever their number."""

import os
import subprocess
import sys

import pandas as pd
import pytest

LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--num_machines", "1"]
LAUNCH += ["--mixed_precision", "no", "--dynamo_backend", "no"]


def launch(options, words):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [*LAUNCH, *options, "-m", "pipeline.train", "configs/folder.yaml", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture()
def words(people, tiny, tmp_path):
    # frozen statistics: batch norm over a rank's share isn't batch norm over the whole batch
    short = ["train.epochs=1", "train.steps_per_epoch=5", "train.norm=frozen", "optimizer.lr=0.001"]
    return [*tiny, *short, f"data.root={people}", f"output={tmp_path}"]


def test_two_processes_have_the_loss_and_the_results_of_one(words, tmp_path):
    one = launch(["--num_processes", "1"], [*words, "name=one"])
    two = launch(["--multi_gpu", "--num_processes", "2"], [*words, "name=two"])
    assert one.returncode == 0, one.stderr
    assert two.returncode == 0, two.stderr
    assert "on 2 x cpu" in (tmp_path / "two" / "log.txt").read_text()
    losses = [pd.read_csv(tmp_path / name / "metrics.csv") for name in ("one", "two")]
    parts = [name for name in losses[0] if name.startswith(("loss", "identity", "intra", "cross"))]
    assert len(losses[0]) == 5 and "cross_infrared_visible_derived" in parts
    pd.testing.assert_frame_equal(losses[0][parts], losses[1][parts], rtol=1e-5, atol=1e-6)
    results = [pd.read_csv(tmp_path / name / "results.csv") for name in ("one", "two")]
    pd.testing.assert_frame_equal(results[0].drop(columns="run"), results[1].drop(columns="run"), rtol=1e-3)


def test_identities_that_do_not_divide_are_refused(words):
    ended = launch(["--multi_gpu", "--num_processes", "2"], [*words, "name=odd", "batch.ids_per_batch=3"])
    assert ended.returncode != 0
    assert "expected a multiple of the 2 processes" in ended.stderr


def test_a_launcher_that_would_start_separate_trainings_is_refused(words, tmp_path):
    ended = launch(["--cpu", "--num_processes", "2"], [*words, "name=lone"])
    assert ended.returncode != 0
    assert "starts one process only" in ended.stderr
    assert not (tmp_path / "lone").exists()
