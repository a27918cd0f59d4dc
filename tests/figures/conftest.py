"""One run, trained once and evaluated once, for the tests of all figures."""

import os
import shutil

import pytest
from accelerate.state import AcceleratorState

from pipeline import train
from pipeline.figures.evaluated_run import evaluate_run


@pytest.fixture(scope="session")
def run(people, tiny, tmp_path_factory):
    """The folder of a finished run on `people`; 6 identities are tested, all images against all."""
    output, before = tmp_path_factory.mktemp("runs"), dict(os.environ)
    short = ["train.epochs=2", "train.steps_per_epoch=6", "name=tiny", f"output={output}", f"data.root={people}"]
    train.main(["configs/folder.yaml", *tiny, *short])
    AcceleratorState._reset_state(reset_partial_state=True)
    os.environ.clear()
    os.environ.update(before)
    return output / "tiny"


@pytest.fixture(scope="session")
def evaluated(run):
    """The run's features and scores. Its accelerator is of no use after the first test."""
    return evaluate_run([str(run)])


@pytest.fixture()
def copied_run(run, tmp_path):
    """A run of the test's own, to write into."""
    shutil.copytree(run, tmp_path / "copy", ignore=shutil.ignore_patterns("checkpoints"))
    return tmp_path / "copy"
