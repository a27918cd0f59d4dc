"""Games by the real entry point: in every stage a training that is killed ends, resumed, as one that wasn't."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline import train
from pipeline.config import load_config
from pipeline.evaluation.results import METRICS, read_rows
from tests.end_to_end.runs import weights
from tests.methods.games import SIZES

STAGE = 2  # steps
STAGES = {"aligngan": 3}


def arguments_of(name, people, output):
    steps = STAGE * STAGES[name]
    return [
        *("configs/folder.yaml", f"configs/methods/{name}.yaml", "configs/small.yaml", *SIZES[name]),
        *(f"method.stages={[1.0] * STAGES[name]}", f"data.root={people}", f"output={output}", "loader.threads=1"),
        *("batch.ids_per_batch=4", "batch.images_per_modality=2", "optimizer.warmup=0", "optimizer.lr=0.001"),
        *("train.epochs=1", f"train.steps_per_epoch={steps}", "train.checkpoint_steps=1", "train.log_steps=1"),
        "train.keep_checkpoints=100",
    ]


@pytest.fixture(scope="module")
def whole(people, tmp_path_factory, hidden_gpus):
    """Name of a game -> its arguments, and the folder of a training that nothing interrupted."""
    made = {}

    def run(name):
        if name not in made:
            output = tmp_path_factory.mktemp(name)
            arguments = arguments_of(name, people, output)
            with hidden_gpus():
                train.main([*arguments, "name=whole", "train.image_steps=2"])
            made[name] = arguments, output / "whole"
        return made[name]

    return run


@pytest.mark.parametrize("name", SIZES)
def test_a_game_is_trained_in_its_stages_evaluated_and_shown(name, whole):
    arguments, folder = whole(name)
    logged, method = pd.read_csv(folder / "metrics.csv"), load_config(arguments).method
    assert logged["step"].tolist() == [*range(1, STAGE * STAGES[name] + 1)]
    assert np.isfinite(logged[["loss", "gradient_norm", "lr"]]).all(axis=None)
    assert logged.notna().any().all()  # no column of nothing
    rows = read_rows(folder / "results.csv")
    assert len(rows) == 2 and rows[METRICS].notna().all(axis=None)
    assert set(rows["method"]) == {method.name} and set(rows["method_source"]) == {method.source}
    sheets = sorted((folder / "images").glob("*.png"))
    assert [int(path.stem.removeprefix("step-")) for path in sheets] == [*range(2, STAGE * STAGES[name] + 1, 2)]
    assert len({Image.open(path).tobytes() for path in sheets}) > 1  # the networks have learned something


@pytest.mark.parametrize(("name", "stage"), [(name, stage) for name in SIZES for stage in range(STAGES[name])])
def test_a_game_killed_in_any_stage_is_resumed_to_the_same_bits(name, stage, whole, hidden_gpus, assert_equal):
    """Without sheets, which therefore change nothing either."""
    arguments, folder = whole(name)
    killed = folder.with_name(f"killed-{stage}")
    shutil.copytree(folder, killed)
    for path in (killed / "finished", killed / "model.safetensors", killed / "results.csv"):
        path.unlink()
    for checkpoint in sorted((killed / "checkpoints").glob("step-*"))[STAGE * stage + 1 :]:
        shutil.rmtree(checkpoint)
    train.main([*arguments, f"name={killed.name}", "train.image_steps=1000"])
    assert_equal(weights(killed), weights(folder))
    before, after = (pd.read_csv(path / "metrics.csv") for path in (folder, killed))
    timed = ["images_per_second", "waiting_for_data"]
    pd.testing.assert_frame_equal(before.drop(columns=timed), after.drop(columns=timed))
