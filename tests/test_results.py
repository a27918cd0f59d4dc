from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import pandas as pd
import pytest

from pipeline import tables
from pipeline.results import METRICS, append_rows, format_summary, read_rows, summarise


def row(run="a", trial=1, mode="all", value=50.0, **more):
    return {"run": run, "mode": mode, "config": "00000012", "trial": trial} | more | dict.fromkeys(METRICS, value)


def append_one(path, trial):
    append_rows(path, pd.DataFrame([row(trial=trial)]))


def test_rows_are_added_and_a_repeated_row_replaces_its_twin(tmp_path):
    file = tmp_path / "results.csv"
    append_rows(file, pd.DataFrame([row(trial=1, value=10.0), row(trial=2, value=20.0)]))
    append_rows(file, pd.DataFrame([row(trial=2, value=30.0), row(trial=1, mode="indoor", value=40.0)]))
    kept = read_rows(file)
    assert kept["mAP"].tolist() == [10.0, 30.0, 40.0]
    assert kept["config"].tolist() == ["00000012"] * 3


def test_a_value_survives_the_file_to_the_last_digit(tmp_path):
    value = 100 / 3
    append_rows(tmp_path / "results.csv", pd.DataFrame([row(value=value)]))
    append_rows(tmp_path / "results.csv", pd.DataFrame([row(trial=2, value=1.0)]))
    assert pd.read_csv(tmp_path / "results.csv")["mAP"][0] == value


def test_processes_that_append_at_once_lose_nothing(tmp_path):
    file = tmp_path / "results.csv"
    with ProcessPoolExecutor(4) as pool:
        list(pool.map(partial(append_one, file), range(20)))
    assert sorted(pd.read_csv(file)["trial"]) == list(range(20))


def test_means_are_over_trials_that_agree_in_all_else():
    rows = pd.DataFrame(
        [
            row(trial=1, value=10.0),
            row(trial=2, value=20.0),
            row(trial=1, mode="indoor", value=70.0),
            row(run="b", value=5.0),
        ]
    )
    table = summarise(rows)
    assert table.index.names == ["run", "mode"]
    assert table.loc[("a", "all"), ("mAP", "mean")] == 15
    assert table.loc[("a", "all"), ("mAP", "std")] == pytest.approx(np.std([10, 20], ddof=1))
    assert table["trials"].tolist() == [2, 1, 1]
    text = format_summary(table)
    assert "15.00 ±7.07" in text and "70.00" in text


COLUMNS = {
    "dataset": ("sysu", "folder"),
    "split": ("test", "val"),
    "test_set": ("00000012", "00000013"),
    "shots": ("single", "multi"),
    "gallery_rule": ("official", "random_seed"),
    "direction": ("visible_to_infrared", "infrared_to_visible"),
    "extractor": ("network", "unknown"),
    "feature": ("embedding", "pooled"),
    "metric": ("cosine", "euclidean"),
    "flip": (False, True),
    "fusion": ("none", "mean"),
    "re_ranking": ("k_reciprocal(20,6,0.3)", "k_reciprocal(20,6,0.5)"),
    "precision": ("fp32", "bf16"),
    "selection": ("last", "unknown"),
    "epoch": (80, "unknown"),
    "seed": (0, 1),
    "config": ("00000012", "1e000012"),
    "code_version": ("0.1.0", "0.1.0+1a2b3c4"),
}


@pytest.mark.parametrize("column", COLUMNS)
def test_rows_that_differ_in_anything_but_the_trial_never_mix_in_a_mean(column, tmp_path):
    first, second = COLUMNS[column]
    file = tmp_path / "results.csv"
    for value, mAP in ((first, 10.0), (second, 30.0), (second, 50.0)):
        trial = 1 if mAP < 50 else 2
        append_rows(file, pd.DataFrame([row(trial=trial, value=mAP, **{column: value})]))
    table = summarise(read_rows(file))
    assert table.index.names == ["run", column]
    assert table[("mAP", "mean")].tolist() == [10, 40] and table["trials"].tolist() == [1, 2]


def test_rows_older_than_a_column_stay_apart_from_newer_ones(tmp_path):
    file = tmp_path / "results.csv"
    append_rows(file, pd.DataFrame([row(value=10.0)]))
    append_rows(file, pd.DataFrame([row(value=30.0, fusion="none")]))
    table = summarise(read_rows(file))
    assert table[("mAP", "mean")].tolist() == [10, 30]
    append_rows(file, pd.DataFrame([row(value=50.0, fusion="none")]))
    assert summarise(read_rows(file))[("mAP", "mean")].tolist() == [10, 50]


def test_the_table_of_runs_keeps_their_order_and_names_a_missing_one(tmp_path, capsys):
    for name, value in (("z", 1.0), ("b", 2.0)):
        (tmp_path / name).mkdir()
        append_rows(tmp_path / name / "results.csv", pd.DataFrame([row(run=name, value=value)]))
    tables.main([str(tmp_path / "z"), str(tmp_path / "b")])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["run", "z", "b"]
    with pytest.raises(SystemExit):
        tables.main([str(tmp_path / "none")])
    assert "none: no results.csv" in capsys.readouterr().err
