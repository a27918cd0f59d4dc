"""Several processes on the CPU: one objective whatever their number."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from pipeline import evaluate as evaluate_command
from pipeline import train
from pipeline.evaluation.session import evaluate, open_session
from pipeline.metric_columns import VALIDATION
from tests.multiprocess.ranks import LAUNCH, fork_ranks, run
from tests.multiprocess.several_ranks import train_all_ways

RANKS = (1, 2, 3, 4)


@pytest.fixture(scope="module")
def arguments(people, tiny):
    """The shipped defaults, small: four identities a batch, which three ranks don't share evenly, 80 test images."""
    return [*tiny, f"data.root={people}", "data.test_fraction=0.4", "optimizer.lr=0.001"]


@pytest.fixture(scope="module")
def saved(arguments, tmp_path_factory):
    """Number of ranks -> what came of all ways of training, and what was said to too few identities."""
    out = tmp_path_factory.mktemp("ranks")
    for ranks in RANKS:
        fork_ranks(ranks, out, train_all_ways, out, ["configs/folder.yaml", *arguments, f"output={out}"])
    return {ranks: torch.load(out / f"{ranks}.pt", weights_only=False) for ranks in RANKS}


@pytest.fixture(scope="module")
def found(saved):
    """Number of ranks -> way of training -> what came of it."""
    return {ranks: found for ranks, (found, _) in saved.items()}


def deviation(one, other):
    return ((one - other).norm() / one.norm()).item()


@pytest.mark.parametrize("ranks", RANKS[1:])
def test_by_default_several_ranks_are_one(found, ranks):
    one, several = found[1]["float64"], found[ranks]["float64"]
    assert len(one["losses"]) == 10 and "cross_infrared_visible_derived" in one["losses"][0]
    for losses, others in zip(one["losses"], several["losses"], strict=True):
        assert losses == pytest.approx(others, rel=1e-6, abs=1e-9)  # float32 in the exchange of figures
    for name in ("gradients", "weights"):
        assert deviation(one[name], several[name]) < 1e-9, name
    assert deviation(one["buffers"][0], several["buffers"][0]) < 1e-9
    assert len(one["results"]) == 2 and one["results"]["queries"].iloc[0] % 3
    pd.testing.assert_frame_equal(one["results"], several["results"])


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize(
    ("way", "tolerance"),
    [("float32", 1e-3), ("frozen", 1e-5), ("accumulated", 1e-5), ("bfloat16", 2e-2), ("parts", 1e-7)],
)
def test_several_ranks_have_the_losses_gradients_and_weights_of_one(found, ranks, way, tolerance):
    one, several = found[1][way], found[ranks][way]
    for losses, others in zip(one["losses"], several["losses"], strict=True):
        assert losses == pytest.approx(others, rel=10 * tolerance, abs=1e-6)
    assert deviation(one["gradients"], several["gradients"]) < tolerance
    assert deviation(one["weights"], several["weights"]) < tolerance
    assert deviation(one["buffers"][0], several["buffers"][0]) < tolerance


@pytest.mark.parametrize("ranks", RANKS[1:])
def test_buffers_are_the_same_on_all_ranks_to_the_bit(found, ranks):
    assert {"float64", "float32"} <= {*found[ranks]} and ("local_norm" in found[ranks]) == (ranks < 4)
    for way, what in found[ranks].items():
        first, *others = what["buffers"]
        assert len(others) == ranks - 1
        assert first.isfinite().all() and all(torch.equal(first, other) for other in others), way


@pytest.mark.parametrize("ranks", [2, 3])
def test_statistics_of_each_ranks_own_are_another_method(found, ranks):
    one, several = found[1]["local_norm"], found[ranks]["local_norm"]
    assert deviation(one["gradients"], several["gradients"]) > 0.01


@pytest.mark.parametrize("ranks", [2, 3])
def test_local_mining_is_another_objective_on_several_ranks_only(found, ranks):
    one, several = found[1]["local_mining"]["losses"][0], found[ranks]["local_mining"]["losses"][0]
    assert several["identity"] == pytest.approx(one["identity"], rel=1e-5)
    assert several["intra"] < one["intra"] and several["cross"] < one["cross"]  # fewer to choose the hardest from


def test_fewer_identities_than_processes_are_errors(saved):
    (status, said), (other_status, _) = saved[2][1]
    assert status == other_status == 2
    assert "expected at least 4, 2 for each of the 2 processes (method.mining=local); found 3" in said


@pytest.fixture(scope="module")
def words(arguments, tmp_path_factory):
    """Of short trainings that are validated once; the last is output=."""
    short = ["train.epochs=1", "train.steps_per_epoch=5"]
    short += ["validation.identities=0.3", "validation.every_epochs=1", "validation.selection=best"]
    return ["configs/folder.yaml", *arguments, *short, f"output={tmp_path_factory.mktemp('runs')}"]


@pytest.fixture(scope="module")
def trained(words):
    """Number of processes -> the folder of their run; two are started by the real launcher."""
    output = Path(words[-1].partition("=")[2])
    fork_ranks(1, output, train.main, [*words, "name=of1"])
    ended = run([*LAUNCH, "--multi_gpu", "--num_processes", "2", "-m", "pipeline.train", *words, "name=of2"])
    assert ended.returncode == 0, ended.stderr
    return {ranks: output / f"of{ranks}" for ranks in (1, 2)}


@pytest.fixture(scope="module")
def evaluated_again(trained, tmp_path_factory):
    """(Processes that trained, processes that evaluated) -> rows of results as they are written."""
    copies = {}
    for ranks, folder in trained.items():
        for evaluated_by in (1, 2):
            place = tmp_path_factory.mktemp("again") / folder.name
            copies[ranks, evaluated_by] = shutil.copytree(folder, place)
            (place / "results.csv").unlink()
    for (_, evaluated_by), folder in copies.items():
        fork_ranks(evaluated_by, folder.parent, evaluate_command.main, [str(folder)])
    return {key: (folder / "results.csv").read_text() for key, folder in copies.items()}


def test_training_by_two_processes_ends_with_the_losses_of_one(trained):
    assert "on 2 x cpu, fp32, norm global" in (trained[2] / "log.txt").read_text()
    metrics = [pd.read_csv(trained[ranks] / "metrics.csv") for ranks in (1, 2)]
    assert len(metrics[0]) == 5
    pd.testing.assert_series_equal(metrics[0]["loss"], metrics[1]["loss"], rtol=1e-3)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_validation_by_two_processes_finds_what_one_finds_of_the_same_weights(trained, ranks):
    (row,) = pd.read_csv(trained[ranks] / "metrics.csv").dropna(subset=["val_mAP"]).to_dict("records")
    evaluation = evaluate(open_session([str(trained[ranks]), "data.test_split=validation"]))
    found = evaluation.result.trial_results[[*VALIDATION.values()]].mean()
    assert {name: row[name] for name in VALIDATION} == pytest.approx(dict(zip(VALIDATION, found, strict=True)))
    assert (trained[ranks] / "best.safetensors").exists()


@pytest.mark.parametrize("evaluated_by", [1, 2])
@pytest.mark.parametrize("ranks", [1, 2])
def test_an_evaluation_repeats_the_rows_of_the_training_to_the_bit(trained, evaluated_again, ranks, evaluated_by):
    assert evaluated_again[ranks, evaluated_by] == (trained[ranks] / "results.csv").read_text()


def test_a_launcher_that_would_start_separate_trainings_is_an_error(arguments, tmp_path):
    command = [*LAUNCH, "--cpu", "--num_processes", "2", "-m", "pipeline.train", "configs/folder.yaml"]
    ended = run([*command, *arguments, "name=lone", f"output={tmp_path}"])
    assert ended.returncode != 0
    assert "starts one process only" in ended.stderr
    assert not (tmp_path / "lone").exists()
