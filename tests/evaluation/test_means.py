"""The means over the rows of results.csv, and what is said of them."""

import itertools
import statistics

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation.results import (
    AGREED,
    METRICS,
    append_rows,
    common_name,
    differing,
    format_summary,
    read_rows,
    summarize,
)
from tests.evaluation.result_rows import row, sysu


def test_means_are_over_trials_that_agree_in_all_else():
    rows = [row(value=10.0), row(trial=2, value=20.0), row(mode="indoor", value=70.0), row(run="b", value=5.0)]
    means = summarize(pd.DataFrame(rows))
    assert means[["run", "mode"]].to_numpy().tolist() == [["a", "all"], ["a", "indoor"], ["b", "all"]]
    assert means["mAP"].tolist() == [15, 70, 5] and means["trials"].tolist() == [2, 1, 1]
    assert means["mAP_std"][0] == pytest.approx(np.std([10, 20], ddof=1)) and means["mAP_std"][1:].isna().all()
    text = format_summary(means)
    assert "15.00 ±7.07" in text and "70.00" in text and "deviation over 2 trials" in text


COLUMNS = {
    "dataset": ("sysu", "folder"),
    "split": ("test", "val"),
    "test_set": ("00000012", "00000013"),
    "shots": ("single", "multi"),
    "gallery_rule": ("official", "random_seed"),
    "direction": ("visible_to_infrared", "infrared_to_visible"),
    "extractor": ("network", "unknown"),
    "feature": ("embedding", "pooled"),
    "similarity": ("whole", "summed"),
    "metric": ("cosine", "euclidean"),
    "flip": (False, True),
    "fusion": ("none", "mean"),
    "projection": ("none", "hcml"),
    "stems": ("own", "mean"),
    "re_ranking": ("k_reciprocal(20,6,0.3)", "k_reciprocal(20,6,0.5)"),
    "precision": ("fp32", "bf16"),
    "selection": ("last", "unknown"),
    "epoch": (80, "unknown"),
    "replaced_images": (0, 7),
    "seed": (0, 1),
    "config": ("00000012", "1e000012"),
    "code_version": ("0.1.0", "0.1.0+1a2b3c4"),
    "train_set": ("00000012", "00000013"),
    "weights": ("resnet50.tv_in1k 0a", "resnet50.a1_in1k 0b"),
    "train_precision": ("fp32", "bf16"),
    "norm": ("global", "local"),
    "train_code_version": ("0.1.0+a", "0.1.0+a, 0.1.0+b"),
    "a_column_of_next_year": ("x", "y"),
}


@pytest.mark.parametrize("column", COLUMNS)
def test_rows_that_differ_in_anything_but_the_trial_never_mix_in_a_mean(column, tmp_path):
    first, second = COLUMNS[column]
    file = tmp_path / "results.csv"
    for value, mAP in ((first, 10.0), (second, 30.0), (second, 50.0)):
        trial = 1 if mAP < 50 else 2
        append_rows(file, pd.DataFrame([row(trial=trial, value=mAP, **{column: value})]))
    means = summarize(read_rows(file))
    assert means["mAP"].tolist() == [10, 40] and means["trials"].tolist() == [1, 2]
    assert column in format_summary(means).splitlines()[0].split(), "the table says what differs"


def test_rows_older_than_a_column_stay_apart_from_newer_ones(tmp_path):
    file = tmp_path / "results.csv"
    append_rows(file, pd.DataFrame([row(value=10.0)]))
    append_rows(file, pd.DataFrame([row(value=30.0, fusion="none")]))
    assert summarize(read_rows(file))["mAP"].tolist() == [10, 30]
    append_rows(file, pd.DataFrame([row(value=50.0, fusion="none")]))
    assert summarize(read_rows(file))["mAP"].tolist() == [10, 50]


def test_runs_that_differ_in_the_seed_alone_are_one_row_with_the_deviation_between_seeds():
    values = {(seed, trial): 10.0 * seed + trial**2 for seed in (0, 1, 2) for trial in range(1, 11)}
    rows = [sysu(f"demo-seed{s}", trial, s, value, replaced_images=3 + s) for (s, trial), value in values.items()]
    means = summarize(pd.DataFrame(rows))
    of_seeds = [statistics.mean(values[seed, trial] for trial in range(1, 11)) for seed in (0, 1, 2)]
    assert len(means) == 1 and means["run"][0] == "demo" and means["runs"][0] == "demo-seed0, demo-seed1, demo-seed2"
    assert means["mAP"][0] == pytest.approx(statistics.mean(values.values()))
    assert means["mAP_std"][0] == pytest.approx(statistics.stdev(of_seeds))
    assert means[["std_over", "seeds", "trials", "missing"]].iloc[0].tolist() == ["seeds", 3, 10, ""]
    assert "deviation over 3 seeds" in format_summary(means)


def test_the_ten_runs_of_regdb_are_ten_trials():
    facts = {"dataset": "regdb", "gallery_rule": "all", "queries": 2060, "gallery": 2060}
    rows = [sysu(f"regdb-trial{n}", n, 0, 10.0 * n, test_set=f"set{n}", config=f"c{n}", **facts) for n in range(1, 10)]
    means = summarize(pd.DataFrame(rows))
    assert means["run"].tolist() == ["regdb"] and means["mAP"][0] == 50
    assert means["mAP_std"][0] == pytest.approx(statistics.stdev(10.0 * n for n in range(1, 10)))
    assert means[["std_over", "seeds", "trials", "missing"]].iloc[0].tolist() == ["trials", 1, 9, "10"]
    # a seed of its own for each split: still ten trials, not ten seeds of one trial
    own = [entry | {"seed": entry["trial"]} for entry in rows]
    assert summarize(pd.DataFrame(own))[["std_over", "missing"]].iloc[0].tolist() == ["trials", "10"]
    # a training set for each too, whatever the seed; but one only for each
    trained = [entry | {"train_set": f"people{entry['trial']}"} for entry in rows]
    twice = [entry | {"seed": 1, "run": f"{entry['run']}-seed1", "config": "x"} for entry in trained]
    assert summarize(pd.DataFrame([*trained, *twice]))[["seeds", "trials"]].to_numpy().tolist() == [[2, 9]]
    twice[0] |= {"train_set": "others"}
    assert len(summarize(pd.DataFrame([*trained, *twice]))) == 18
    assert summarize(pd.DataFrame([*rows, *trained]))["trials"].tolist() == [9, 9], "of older rows nothing is known"
    # a data set of another size is another one
    other = [*rows, rows[0] | {"trial": 10, "queries": 100, "run": "regdb-trial10"}]
    assert summarize(pd.DataFrame(other))["trials"].tolist() == [9, 1]


def test_without_a_recipe_no_two_runs_mix():
    for recipe in ("unknown", ""):
        rows = [sysu(f"x-seed{seed}", trial, seed, recipe=recipe) for seed in (0, 1) for trial in (1, 2)]
        assert summarize(pd.DataFrame(rows))["run"].tolist() == ["x-seed0", "x-seed1"]


def test_a_seed_trained_twice_counts_in_no_mean_with_itself():
    rows = [sysu(run, trial, 0, value) for run, value in (("a", 10.0), ("b", 20.0)) for trial in (1, 2)]
    assert summarize(pd.DataFrame(rows))["run"].tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="a: trial 1 is there twice, with different metrics"):
        summarize(pd.DataFrame([*rows, sysu("a", 1, 0, 11.0)]))


def test_missing_trials_are_named():
    rows = [sysu("a-seed0", trial, 0) for trial in range(1, 11)]
    rows += [sysu("a-seed1", trial, 1) for trial in (1, 2, 3, 4, 5, 6, 8)]
    means = summarize(pd.DataFrame(rows))
    assert means["missing"][0] == "7, 9, 10 of seed 1" and means["trials"][0] == 7
    text = format_summary(means)
    assert "7 of 10" in text and "a all: without the trials 7, 9, 10 of seed 1" in text
    from_zero = [sysu(trial=trial, gallery_rule="random_seed") for trial in range(9)]
    assert summarize(pd.DataFrame(from_zero))["missing"][0] == "9"


def test_what_differs_between_runs_is_said():
    rows = [sysu("a", trial, config="c", value=1.0) for trial in range(1, 11)]
    rows += [sysu("b", trial, recipe="0b", code_version="0.2", value=2.0) for trial in range(1, 11)]
    text = format_summary(summarize(pd.DataFrame(rows)))
    assert "sysu: code_version differs: " in text and "0.2 (b)" in text and "gallery_rule" not in text


def test_trainings_that_differ_are_named_and_those_without_training_are_not(tmp_path):
    facts = {"train_set": "1a", "weights": "random", "train_precision": "fp32", "norm": "global"}
    facts |= {"train_code_version": "0.1+a"}
    rows = [sysu("a", trial, value=1.0, **facts) for trial in (1, 2)]
    rows += [sysu("b", trial, recipe="b", value=2.0, **facts | {"train_set": "2b"}) for trial in (1, 2)]
    rows += [sysu("pixels", trial, recipe="c", value=2.0, **dict.fromkeys(AGREED, "none")) for trial in (1, 2)]
    text = format_summary(summarize(pd.DataFrame(rows)))
    assert "sysu: train_set differs: 1a (a), 2b (b)" in text
    assert all(f"{name} differs" not in text for name in AGREED[1:]) and "none" not in text


def test_of_rows_older_than_the_record_one_column_says_so():
    facts = dict.fromkeys(AGREED, "x")
    means = summarize(pd.DataFrame([sysu(trial=1), sysu(trial=1, **facts), sysu(trial=1, **facts | {"norm": "y"})]))
    assert format_summary(means).splitlines()[0].split()[:2] == ["run", "norm"]
    text = format_summary(means.iloc[:2])
    assert text.splitlines()[0].split()[:3] == ["run", "train_set", "rank_1"]
    assert "train_set differs: not known (a), x (a)" in text and "norm differs" not in text


def test_a_common_name_is_what_is_left_without_trial_and_seed():
    assert common_name(["regdb-b2-trial1", "regdb-b2-trial10-seed3"]) == "regdb-b2"
    assert common_name(["demo", "demo-seed1"]) == "demo"
    assert common_name(["demo-seed1"]) == "demo-seed1" and common_name(["x", "y"]) == "x, y"


def test_no_mean_depends_on_the_order_of_the_rows():
    rows = pd.DataFrame([sysu(f"a-seed{s}", t, s, 7.0 * s + t) for s, t in itertools.product((0, 1), range(1, 11))])
    first, again = summarize(rows), summarize(rows.sample(frac=1, random_state=1).reset_index(drop=True))
    assert first[[*METRICS, "mAP_std"]].round(9).equals(again[[*METRICS, "mAP_std"]].round(9))


def test_seeds_whose_best_weights_are_of_different_epochs_are_averaged_but_not_with_untrained_ones():
    best = {"selection": "best_on_validation"}
    trained = [sysu(f"a-seed{seed}", seed=seed, value=40.0 + seed, epoch=2 * seed, **best) for seed in (1, 2)]
    means = summarize(pd.DataFrame([*trained, sysu("a-seed3", seed=3, epoch=0, **best)]))
    assert means["seeds"].tolist() == [2, 1] and means["epoch"].tolist() == ["2, 4", "0"]
    assert means["mAP"].tolist() == [41.5, 50.0]


def test_what_nothing_else_tells_apart_is_told_apart_by_its_recipe():
    rows = pd.DataFrame([sysu(recipe="0a"), sysu(recipe="0b")])
    assert "recipe" in differing(summarize(rows)) and "recipe" not in differing(summarize(rows.iloc[:1]))
