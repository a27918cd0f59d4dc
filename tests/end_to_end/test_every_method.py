"""Every method that comes with the project, trained for two steps by the real entry point, and evaluated."""

import numpy as np
import pandas as pd
import pytest

from pipeline import train
from pipeline.config import load_config
from pipeline.evaluation.results import METRICS, read_rows
from tests.methods.games import SMALLER, files_of_one_objective

METHODS = files_of_one_objective()  # games: test_games
TINY = [
    "model.backbone=test_resnet",
    "batch.ids_per_batch=4",
    "batch.images_per_modality=2",
    "loader.threads=1",
    "train.log_steps=1",
]
SHORT = ["train.epochs=1", "train.steps_per_epoch=2", "optimizer.warmup=0"]


@pytest.mark.parametrize("file", METHODS, ids=lambda file: file.stem)
def test_a_method_is_trained_with_the_small_recipe_and_evaluated_under_its_name(file, people, tmp_path):
    arguments = ["configs/folder.yaml", str(file), "configs/small.yaml", *TINY, *SHORT, *SMALLER.get(file.stem, [])]
    arguments += [f"data.root={people}", f"output={tmp_path}", "name=short"]
    train.main(arguments)
    logged = pd.read_csv(tmp_path / "short" / "metrics.csv")
    assert logged["step"].tolist() == [1, 2] and "loss" in logged
    assert np.isfinite(logged.select_dtypes("number")).all(axis=None)
    rows, method = read_rows(tmp_path / "short" / "results.csv"), load_config(arguments).method
    assert len(rows) == 2 and rows[METRICS].notna().all(axis=None)
    assert set(rows["method"]) == {method.name} and set(rows["method_source"]) == {method.source}
