"""A projection with several ranks: all extract, the first one learns, and every rank gets the same."""

import shutil

import numpy as np
import pytest
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from pipeline import evaluate, train
from pipeline.evaluation.hcml.learning import projection_path
from pipeline.evaluation.results import METRICS, read_rows
from tests.multiprocess.ranks import fork_ranks

HCML = ["evaluation.projection=hcml", "evaluation.metric=euclidean"]


@pytest.fixture(scope="module")
def run(people, tiny, tmp_path_factory):
    """The folder of a run that one process trained and evaluated."""
    output = tmp_path_factory.mktemp("projected")
    short = ["train.epochs=1", "train.steps_per_epoch=2", "name=run", f"output={output}", f"data.root={people}"]
    train.main(["configs/folder.yaml", *tiny, *short, *HCML])
    AcceleratorState._reset_state(reset_partial_state=True)
    return output / "run"


def test_two_ranks_learn_and_apply_what_one_does(run, tmp_path):
    other = shutil.copytree(run, tmp_path / "run")
    projection_path(other).unlink()
    (other / "results.csv").unlink()
    fork_ranks(2, tmp_path, evaluate.main, [str(other)])
    one, two = (load_file(projection_path(folder)) for folder in (run, other))
    # Features differ by rounding, as batches are of other sizes; components may point the other way.
    assert (one["mean"] - two["mean"]).abs().max() < 1e-6
    whole = [found["basis"] @ found["visible"] @ (found["basis"] @ found["infrared"]).T for found in (one, two)]
    assert ((whole[0] - whole[1]).norm() / whole[0].norm()) < 1e-3
    np.testing.assert_allclose(*(read_rows(folder / "results.csv")[METRICS] for folder in (run, other)), atol=2.0)
