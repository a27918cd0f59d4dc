"""The metrics of every query beside the rows of results, and the recipe that says which rows are averaged."""

from concurrent.futures import ProcessPoolExecutor
from functools import partial

import pandas as pd
import pytest
from accelerate.state import AcceleratorState

from pipeline import evaluate, train
from pipeline.batch import Modality
from pipeline.build import build_index
from pipeline.config import load_config
from pipeline.datasets.pack import relative_paths
from pipeline.evaluation.model_info import recipe_hash
from pipeline.evaluation.per_query import COLUMNS, queries_file, write_queries
from pipeline.evaluation.results import METRICS, rank_metrics, read_rows
from pipeline.evaluation.results.schema import COLUMNS as COLUMNS_OF_RESULTS


@pytest.fixture
def arguments(people, tiny, tmp_path):
    return ["configs/folder.yaml", *tiny, f"data.root={people}", f"output={tmp_path}"]


def rows_of(tmp_path, name):
    return read_rows(tmp_path / name / "results.csv")


def test_the_means_over_queries_are_those_of_the_row(arguments, tmp_path):
    evaluate.main([*arguments, "name=x"])
    evaluate.main([*arguments, "name=x", "evaluation.metric=euclidean"])
    rows = rows_of(tmp_path, "x")
    assert rows["evaluation"].nunique() == len(rows) == len(list((tmp_path / "x" / "queries").iterdir())) == 4
    for _, row in rows.iterrows():
        queries = pd.read_parquet(queries_file(tmp_path / "x", row["evaluation"]))
        assert len(queries) == row["queries"] and set(queries["trial"]) == {row["trial"]}
        assert 100 * queries["average_precision"].mean() == pytest.approx(row["mAP"])
        assert 100 * queries["inverse_negative_penalty"].mean() == pytest.approx(row["mINP"])
        for name, k in rank_metrics().items():
            assert 100 * (queries["first_match_rank"] <= k).mean() == pytest.approx(row[name])


def test_every_column_that_an_evaluation_writes_is_in_the_schema(arguments, tmp_path):
    evaluate.main([*arguments, "name=x"])
    written = list(pd.read_csv(tmp_path / "x" / "results.csv"))
    assert set(written) == {*COLUMNS_OF_RESULTS, *METRICS}


def test_the_queries_of_a_row_are_images_of_its_modality_and_identity(arguments, people, tmp_path):
    evaluate.main([*arguments, "name=x"])
    index = build_index(load_config(arguments).data)
    index = index.assign(path=relative_paths(index, people)).set_index("path")
    for _, row in rows_of(tmp_path, "x").iterrows():
        queries = pd.read_parquet(queries_file(tmp_path / "x", row["evaluation"]))
        shown = index.loc[queries["query"]]
        assert (shown["identity"].to_numpy() == queries["identity"]).all()
        wanted = Modality.VISIBLE if row["direction"].startswith("visible") else Modality.INFRARED
        assert (shown["modality"] == int(wanted)).all() and (shown["split"] == "test").all()


def test_the_recipe_is_the_configuration_without_the_seed_and_regdbs_trial(arguments):
    settings = load_config(arguments)
    same = [load_config([*arguments, argument]) for argument in ("seed=7", "data.trial=3", "evaluation.flip=true")]
    assert {recipe_hash(other) for other in same} == {recipe_hash(settings)}
    assert recipe_hash(load_config([*arguments, "optimizer.lr=0.5"])) != recipe_hash(settings)


def test_a_trained_runs_recipe_is_that_of_its_training_however_it_is_tested(arguments, tmp_path):
    train.main([*arguments, "name=x", "seed=3", "train.epochs=1", "train.steps_per_epoch=1"])
    AcceleratorState._reset_state(reset_partial_state=True)
    evaluate.main([str(tmp_path / "x"), "train.precision=bf16"])
    rows = rows_of(tmp_path, "x")
    assert len(rows) == 4 and rows["recipe"].nunique() == 1 and rows["precision"].nunique() == 2
    assert rows["recipe"][0] == recipe_hash(load_config([*arguments, "train.epochs=1", "train.steps_per_epoch=1"]))


def write_once(folder, value):
    table = pd.DataFrame([(1, f"q{place}", place, value, 1, value) for place in range(200)], columns=COLUMNS)
    write_queries(folder, {"e": table})


def test_processes_that_write_the_same_queries_at_once_leave_one_whole_file(tmp_path):
    values = [place / 40 for place in range(40)]
    with ProcessPoolExecutor(4) as pool:
        list(pool.map(partial(write_once, tmp_path), values))
    table = pd.read_parquet(queries_file(tmp_path, "e"))
    assert len(table) == 200 and table["average_precision"].nunique() == 1
    assert [path.name for path in (tmp_path / "queries").iterdir()] == ["e.parquet"]
