"""Several processes by the real launcher, on the CPU: one objective whatever their number."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--num_machines", "1"]
LAUNCH += ["--mixed_precision", "no", "--dynamo_backend", "no"]


SCRIPT = Path(__file__).with_name("several_ranks.py")
PROJECT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(PROJECT)}
RANKS = (1, 2, 3, 4)


def launch(options, words, output):
    command = [*LAUNCH, *options, "-m", "pipeline.train", "configs/folder.yaml", *words, f"output={output}"]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def words(people, tiny):
    """Four identities a batch, which three ranks don't share evenly, and 80 test images."""
    # frozen statistics: batch norm over a rank's share isn't batch norm over the whole batch
    return [*tiny, f"data.root={people}", "data.test_fraction=0.4", "train.norm=frozen", "optimizer.lr=0.001"]


@pytest.fixture(scope="module")
def found(words, tmp_path_factory):
    """Number of ranks -> way of training -> what came of it."""
    out = tmp_path_factory.mktemp("ranks")
    for ranks in RANKS:
        options = ["--multi_gpu"] if ranks > 1 else []
        script = [str(SCRIPT), str(out), "configs/folder.yaml", *words, f"output={out}"]
        command = [*LAUNCH, *options, "--num_processes", str(ranks), *script]
        ended = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
        assert ended.returncode == 0, ended.stderr
    return {ranks: torch.load(out / f"{ranks}.pt", weights_only=False) for ranks in RANKS}


def deviation(one, other):
    return ((one - other).norm() / one.norm()).item()


@pytest.mark.parametrize("ranks", RANKS[1:])
@pytest.mark.parametrize(("way", "tolerance"), [("float32", 1e-5), ("accumulated", 1e-5), ("bfloat16", 2e-2)])
def test_several_ranks_have_the_losses_gradients_and_weights_of_one(found, ranks, way, tolerance):
    one, several = found[1][way], found[ranks][way]
    assert deviation(one["gradients"], several["gradients"]) < tolerance
    assert deviation(one["weights"], several["weights"]) < tolerance
    assert len(one["losses"]) == 10 and "cross_infrared_visible_derived" in one["losses"][0]
    for losses, others in zip(one["losses"], several["losses"], strict=True):
        assert losses == pytest.approx(others, rel=10 * tolerance, abs=1e-6)


@pytest.mark.parametrize("ranks", RANKS[1:])
def test_several_ranks_have_the_results_of_one_to_the_last_digit(found, ranks):
    one, several = found[1]["float32"]["results"], found[ranks]["float32"]["results"]
    assert len(one) == 2 and one["queries"].iloc[0] % 3
    pd.testing.assert_frame_equal(one, several, check_exact=True)


@pytest.mark.parametrize("ranks", [2, 3])
def test_local_mining_is_another_objective_on_several_ranks_only(found, ranks):
    one, several = found[1]["local"]["losses"][0], found[ranks]["local"]["losses"][0]
    assert several["identity"] == pytest.approx(one["identity"], rel=1e-5)
    assert several["intra"] < one["intra"] and several["cross"] < one["cross"]  # fewer to choose the hardest from


def test_training_by_two_processes_ends_with_the_results_of_one(words, tmp_path):
    short = ["train.epochs=1", "train.steps_per_epoch=5"]
    for name, options in (("one", ["--num_processes", "1"]), ("two", ["--multi_gpu", "--num_processes", "2"])):
        ended = launch(options, [*words, *short, f"name={name}"], tmp_path)
        assert ended.returncode == 0, ended.stderr
    assert "on 2 x cpu" in (tmp_path / "two" / "log.txt").read_text()
    metrics = [pd.read_csv(tmp_path / name / "metrics.csv") for name in ("one", "two")]
    assert len(metrics[0]) == 5
    pd.testing.assert_series_equal(metrics[0]["loss"], metrics[1]["loss"], rtol=1e-5)
    results = [
        pd.read_csv(tmp_path / name / "results.csv").drop(columns=["run", "evaluation"]) for name in ("one", "two")
    ]
    pd.testing.assert_frame_equal(*results, rtol=1e-3)


def test_fewer_identities_than_processes_are_refused(words, tmp_path):
    ended = launch(
        ["--multi_gpu", "--num_processes", "2"],
        [*words, "name=few", "loss.mining=local", "batch.ids_per_batch=3"],
        tmp_path,
    )
    assert ended.returncode != 0
    assert "expected at least 4, 2 for each of the 2 processes (loss.mining=local); found 3" in ended.stderr


def test_a_launcher_that_would_start_separate_trainings_is_refused(words, tmp_path):
    ended = launch(["--cpu", "--num_processes", "2"], [*words, "name=lone"], tmp_path)
    assert ended.returncode != 0
    assert "starts one process only" in ended.stderr
    assert not (tmp_path / "lone").exists()
