"""The rows of results.csv: what is added, read, refused; and the means over them."""

import itertools
import statistics
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation.results import (
    AGREED,
    METRICS,
    RECORDED,
    append_rows,
    common_name,
    format_summary,
    read_rows,
    summarise,
)


def row(run="a", trial=1, mode="all", value=50.0, **more):
    return {"run": run, "mode": mode, "config": "00000012", "trial": trial} | more | dict.fromkeys(METRICS, value)


def sysu(run="a", trial=1, seed=0, value=50.0, **more):
    facts = {"dataset": "sysu", "gallery_rule": "official", "recipe": "0a0a0a0a", "seed": seed, "config": f"c{seed}"}
    return row(run, trial, value=value, **facts | {"queries": 30, "gallery": 9, "replaced_images": 0} | more)


def append_one(path, trial):
    append_rows(path, pd.DataFrame([row(trial=trial)]))


@pytest.fixture
def file(tmp_path):
    """A results.csv of three trials."""
    append_rows(tmp_path / "results.csv", pd.DataFrame([row(trial=n, value=10.0 * n) for n in (1, 2, 3)]))
    return tmp_path / "results.csv"


# ---------------------------------------------------------------- added


def test_rows_are_added_and_a_repeated_row_replaces_its_twin(tmp_path):
    file = tmp_path / "results.csv"
    append_rows(file, pd.DataFrame([row(trial=1, value=10.0), row(trial=2, value=20.0)]))
    append_rows(file, pd.DataFrame([row(trial=2, value=30.0), row(trial=1, mode="indoor", value=40.0)]))
    kept = read_rows(file)
    assert kept["mAP"].tolist() == [10.0, 30.0, 40.0]
    assert kept["config"].tolist() == ["00000012"] * 3 and kept["trial"].tolist() == [1, 2, 1]


def test_a_value_survives_the_file_to_the_last_digit(tmp_path):
    values = [100 / 3, 0.1 + 0.2, 7.000000000000001, 100.0]
    for trial, value in enumerate(values):
        append_rows(tmp_path / "results.csv", pd.DataFrame([row(trial=trial, value=value)]))
    assert read_rows(tmp_path / "results.csv")["mAP"].tolist() == values


def test_processes_that_append_at_once_lose_nothing(tmp_path):
    file = tmp_path / "results.csv"
    with ProcessPoolExecutor(4) as pool:
        list(pool.map(partial(append_one, file), range(20)))
    assert sorted(read_rows(file)["trial"]) == list(range(20))


def test_a_newer_versions_column_keeps_older_values_as_they_were_written(tmp_path):
    file = tmp_path / "results.csv"
    append_rows(file, pd.DataFrame([row(epoch=80, flip=False)]))
    append_rows(file, pd.DataFrame([row(trial=2, epoch=80, flip=False, fusion="none")]))
    append_rows(file, pd.DataFrame([row(trial=3, epoch=80)]))  # an older version again
    kept = read_rows(file)
    assert kept["epoch"].tolist() == ["80"] * 3 and kept["flip"].tolist() == ["False", "False", ""]
    assert kept["fusion"].tolist() == ["", "none", ""]


def test_rows_are_added_beside_a_file_that_cannot_be_read(file):
    broken = file.read_text().replace("10.0", "ten")
    file.write_text(broken)
    with pytest.warns(UserWarning, match="line 2: rank_1: expected a number from 0 to 100; found 'ten'; kept as"):
        append_rows(file, pd.DataFrame([row(trial=9)]))
    assert read_rows(file)["trial"].tolist() == [9]
    (kept,) = file.parent.glob("results-unreadable-*.csv")
    assert kept.read_text() == broken


@pytest.mark.parametrize("column", RECORDED)
def test_what_is_recorded_only_neither_duplicates_a_row_nor_divides_a_mean(tmp_path, column):
    file = tmp_path / "results.csv"
    append_rows(file, pd.DataFrame([sysu("a-seed0", 1, 0, 10.0, **{column: "1"})]))
    append_rows(file, pd.DataFrame([sysu("a-seed0", 1, 0, 20.0, **{column: "4"})]))
    append_rows(file, pd.DataFrame([sysu("a-seed1", 1, 1, 40.0, **{column: "8"})]))
    rows = read_rows(file)
    assert rows["mAP"].tolist() == [20, 40] and rows[column].tolist() == ["4", "8"]
    means = summarise(rows)
    assert means["mAP"].tolist() == [30] and means[column].tolist() == ["4, 8"]
    assert column not in format_summary(means)


# ---------------------------------------------------------------- rows of other versions


@pytest.fixture
def another_metric(monkeypatch):
    """As a later version would have it. The list is shared by all modules that count on it."""
    before = [*METRICS]
    METRICS.insert(4, "rank_50")
    yield "rank_50"
    METRICS[:] = before


def test_rows_older_than_a_metric_lose_nothing(file, another_metric):
    old = [line.split(",") for line in file.read_text().splitlines()]
    rows = read_rows(file)
    assert rows["mAP"].tolist() == [10, 20, 30] and rows["rank_50"].isna().all()
    append_rows(file, pd.DataFrame([row(run="b", trial=n, value=5.0 * n) for n in (1, 2)]))
    assert [entry.name for entry in sorted(file.parent.iterdir())] == ["results.csv", "results.lock"]
    kept = pd.read_csv(file, dtype=str, keep_default_na=False)
    assert kept[old[0]].iloc[:3].to_numpy().tolist() == old[1:], "as they were written"
    means = summarise(read_rows(file))
    assert means["run"].tolist() == ["a", "b"] and means["mAP"].tolist() == [20, 7.5]
    assert np.isnan(means["rank_50"][0]) and means["rank_50"][1] == 7.5
    printed = format_summary(means)
    assert "nan" not in printed.lower() and printed.splitlines()[1].count("20.00") == len(METRICS) - 1


def test_no_mean_is_over_some_of_its_rows(tmp_path):
    rows = [row(trial=n, value=10.0 * n) for n in (1, 2, 3)]
    rows[1] |= {"mINP": np.nan}
    append_rows(tmp_path / "results.csv", pd.DataFrame(rows))
    means = summarise(read_rows(tmp_path / "results.csv"))
    assert means["mAP"].tolist() == [20] and means[["mINP", "mINP_std"]].isna().all(axis=None)


def test_rows_with_a_metric_that_this_version_lacks_are_read(file):
    file.write_text(file.read_text().replace("mINP", "mAP_by_camera"))
    rows = read_rows(file)
    assert rows["mINP"].isna().all() and rows["mAP_by_camera"].tolist() == ["10.0", "20.0", "30.0"]


def test_rows_without_counts_stay_readable_beside_rows_with_them(file):
    append_rows(file, pd.DataFrame([row(run="b", queries=30, gallery=9)]))
    append_rows(file, pd.DataFrame([row(run="c", queries=30, gallery=9)]))
    rows = read_rows(file)
    assert rows["gallery"].isna().tolist() == [True] * 3 + [False] * 2
    assert summarise(rows)["gallery"].tolist() == ["0", "9", "9"]
    assert not list(file.parent.glob("*unreadable*"))


def test_a_mean_of_older_rows_stays_what_it_was_beside_newer_ones():
    facts = dict.fromkeys(AGREED, "x")
    old = [sysu(f"a-seed{seed}", 1, seed, 10.0 * seed) for seed in (1, 2)]
    new = [sysu(f"b-seed{seed}", 1, seed, 30.0 * seed, **facts) for seed in (1, 2)]
    means = summarise(pd.DataFrame([*old, *new]))
    assert means["run"].tolist() == ["a", "b"] and means["mAP"].tolist() == [15, 45]


# ---------------------------------------------------------------- read


def test_a_row_cut_off_by_a_kill_is_left_out_with_a_warning(file):
    whole, header = file.read_text(), len(file.read_text().splitlines()[0])
    for end in range(header + 2, len(whole)):
        file.write_text(whole[:end])
        lines = whole[:end].count("\n") - 1
        if whole[end - 1] == "\n":
            assert len(read_rows(file)) == lines
        elif lines == 0:
            with pytest.warns(UserWarning, match="cut it off"), pytest.raises(ValueError, match="no rows of results"):
                read_rows(file)
        else:
            with pytest.warns(UserWarning, match=f"line {lines + 2} has no end"):
                assert read_rows(file)["mAP"].tolist() == [10.0, 20.0, 30.0][:lines]


EDITED = {
    "text": (("20.0", "n/a"), "line 3: rank_1: expected a number from 0 to 100; found 'n/a'"),
    "above 100": (("20.0", "2000"), "line 3: rank_1: expected a number from 0 to 100; found '2000'"),
    "negative": (("20.0", "-1"), "line 3: rank_1: expected a number from 0 to 100; found '-1'"),
    "not finite": (("20.0", "nan"), "line 3: rank_1: expected a number from 0 to 100; found 'nan'"),
    "decimal comma": (("20.0", '"20,0"'), "line 3: rank_1: expected a number from 0 to 100; found '20,0'"),
    "a blank": (("20.0", " "), "line 3: rank_1: expected a number from 0 to 100; found ' '"),
    "no trial": (("00000012,2", "00000012,"), "line 3: trial: expected a whole number; found nothing"),
    "trial": (("00000012,2", "00000012,two"), "line 3: trial: expected a whole number; found 'two'"),
    "a field less": ((",20.0", ""), "line 3: expected 10 fields; found 4"),
    "a field more": (("30.0\n", "30.0,1\n"), "line 4: expected 10 fields; found 11"),
    "a line of words": (("a,all,00000012,3", "see below\na,all,00000012,3"), "line 4: expected 10 fields; found 1"),
    "a column less": (("trial", "trail"), "expected the columns of a results.csv; found 'run,mode,config"),
    "a column twice": (("mode", "run"), "with a name twice"),
    "a merge": (("a,all,00000012,2", "<<<<<<< ours\na,all,00000012,2"), "line 3: expected 10 fields; found 1"),
    "an open quote": (("a,all,00000012,3", '"a,all,00000012,3'), "not a CSV file"),
}


@pytest.mark.parametrize("edit", EDITED)
def test_an_edited_file_is_refused_in_one_line_that_says_where(file, edit):
    (before, after), message = EDITED[edit]
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))
    with pytest.raises(ValueError) as refused:
        read_rows(file)
    assert str(file) in str(refused.value) and message in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"run,trial,rank_1,rank_5,rank_10,rank_20,mAP,mINP\n", "no rows of results"),
        (b"\xff\xfe\x00", "not a CSV file"),
        (b"PK\x03\x04 a spreadsheet", "expected the columns of a results.csv"),
    ],
)
def test_a_file_without_rows_is_refused(tmp_path, content, message):
    (tmp_path / "results.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_rows(tmp_path / "results.csv")


def test_a_spreadsheets_line_ends_and_byte_order_mark_are_read(file):
    before = read_rows(file)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    pd.testing.assert_frame_equal(read_rows(file), before)


# ---------------------------------------------------------------- means


def test_means_are_over_trials_that_agree_in_all_else():
    rows = [row(value=10.0), row(trial=2, value=20.0), row(mode="indoor", value=70.0), row(run="b", value=5.0)]
    means = summarise(pd.DataFrame(rows))
    assert means[["run", "mode"]].to_numpy().tolist() == [["a", "all"], ["a", "indoor"], ["b", "all"]]
    assert means["mAP"].tolist() == [15, 70, 5] and means["trials"].tolist() == [2, 1, 1]
    assert means["mAP_std"][0] == pytest.approx(np.std([10, 20], ddof=1)) and means["mAP_std"][1:].isna().all()
    text = format_summary(means)
    assert "15.00 ±7.07" in text and "70.00" in text and "deviation between 2 trials" in text


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
    means = summarise(read_rows(file))
    assert means["mAP"].tolist() == [10, 40] and means["trials"].tolist() == [1, 2]
    assert column in format_summary(means).splitlines()[0].split(), "the table says what differs"


def test_rows_older_than_a_column_stay_apart_from_newer_ones(tmp_path):
    file = tmp_path / "results.csv"
    append_rows(file, pd.DataFrame([row(value=10.0)]))
    append_rows(file, pd.DataFrame([row(value=30.0, fusion="none")]))
    assert summarise(read_rows(file))["mAP"].tolist() == [10, 30]
    append_rows(file, pd.DataFrame([row(value=50.0, fusion="none")]))
    assert summarise(read_rows(file))["mAP"].tolist() == [10, 50]


def test_runs_that_differ_in_the_seed_alone_are_one_row_with_the_deviation_between_seeds():
    values = {(seed, trial): 10.0 * seed + trial**2 for seed in (0, 1, 2) for trial in range(1, 11)}
    rows = [sysu(f"demo-seed{s}", trial, s, value, replaced_images=3 + s) for (s, trial), value in values.items()]
    means = summarise(pd.DataFrame(rows))
    of_seeds = [statistics.mean(values[seed, trial] for trial in range(1, 11)) for seed in (0, 1, 2)]
    assert len(means) == 1 and means["run"][0] == "demo" and means["runs"][0] == "demo-seed0, demo-seed1, demo-seed2"
    assert means["mAP"][0] == pytest.approx(statistics.mean(values.values()))
    assert means["mAP_std"][0] == pytest.approx(statistics.stdev(of_seeds))
    assert means[["spread", "seeds", "trials", "missing"]].iloc[0].tolist() == ["seeds", 3, 10, ""]
    assert "deviation between 3 seeds" in format_summary(means)


def test_the_ten_runs_of_regdb_are_ten_trials():
    facts = {"dataset": "regdb", "gallery_rule": "all", "queries": 2060, "gallery": 2060}
    rows = [sysu(f"regdb-trial{n}", n, 0, 10.0 * n, test_set=f"set{n}", config=f"c{n}", **facts) for n in range(1, 10)]
    means = summarise(pd.DataFrame(rows))
    assert means["run"].tolist() == ["regdb"] and means["mAP"][0] == 50
    assert means["mAP_std"][0] == pytest.approx(statistics.stdev(10.0 * n for n in range(1, 10)))
    assert means[["spread", "seeds", "trials", "missing"]].iloc[0].tolist() == ["trials", 1, 9, "10"]
    # a seed of its own for each split: still ten trials, not ten seeds of one trial
    own = [entry | {"seed": entry["trial"]} for entry in rows]
    assert summarise(pd.DataFrame(own))[["spread", "missing"]].iloc[0].tolist() == ["trials", "10"]
    # a training set for each too, whatever the seed; but one only for each
    trained = [entry | {"train_set": f"people{entry['trial']}"} for entry in rows]
    twice = [entry | {"seed": 1, "run": f"{entry['run']}-seed1", "config": "x"} for entry in trained]
    assert summarise(pd.DataFrame([*trained, *twice]))[["seeds", "trials"]].to_numpy().tolist() == [[2, 9]]
    twice[0] |= {"train_set": "others"}
    assert len(summarise(pd.DataFrame([*trained, *twice]))) == 18
    assert summarise(pd.DataFrame([*rows, *trained]))["trials"].tolist() == [9, 9], "of older rows nothing is known"
    # a data set of another size is another one
    other = [*rows, rows[0] | {"trial": 10, "queries": 100, "run": "regdb-trial10"}]
    assert summarise(pd.DataFrame(other))["trials"].tolist() == [9, 1]


def test_without_a_recipe_no_two_runs_mix():
    for recipe in ("unknown", ""):
        rows = [sysu(f"x-seed{seed}", trial, seed, recipe=recipe) for seed in (0, 1) for trial in (1, 2)]
        assert summarise(pd.DataFrame(rows))["run"].tolist() == ["x-seed0", "x-seed1"]


def test_a_seed_trained_twice_counts_in_no_mean_with_itself():
    rows = [sysu(run, trial, 0, value) for run, value in (("a", 10.0), ("b", 20.0)) for trial in (1, 2)]
    assert summarise(pd.DataFrame(rows))["run"].tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="a: trial 1 is there twice, with different figures"):
        summarise(pd.DataFrame([*rows, sysu("a", 1, 0, 11.0)]))


def test_missing_trials_are_named():
    rows = [sysu("a-seed0", trial, 0) for trial in range(1, 11)]
    rows += [sysu("a-seed1", trial, 1) for trial in (1, 2, 3, 4, 5, 6, 8)]
    means = summarise(pd.DataFrame(rows))
    assert means["missing"][0] == "7, 9, 10 of seed 1" and means["trials"][0] == 7
    text = format_summary(means)
    assert "7 of 10" in text and "a all: without the trials 7, 9, 10 of seed 1" in text
    from_zero = [sysu(trial=trial, gallery_rule="random_seed") for trial in range(9)]
    assert summarise(pd.DataFrame(from_zero))["missing"][0] == "9"


def test_what_differs_between_runs_is_said():
    rows = [sysu("a", trial, config="c", value=1.0) for trial in range(1, 11)]
    rows += [sysu("b", trial, recipe="0b", code_version="0.2", value=2.0) for trial in range(1, 11)]
    text = format_summary(summarise(pd.DataFrame(rows)))
    assert "sysu: code_version differs: " in text and "0.2 (b)" in text and "gallery_rule" not in text


def test_trainings_that_differ_are_named_and_those_without_training_are_not(tmp_path):
    facts = {"train_set": "1a", "weights": "random", "train_precision": "fp32", "norm": "global"}
    facts |= {"train_code_version": "0.1+a"}
    rows = [sysu("a", trial, value=1.0, **facts) for trial in (1, 2)]
    rows += [sysu("b", trial, recipe="b", value=2.0, **facts | {"train_set": "2b"}) for trial in (1, 2)]
    rows += [sysu("pixels", trial, recipe="c", value=2.0, **dict.fromkeys(AGREED, "none")) for trial in (1, 2)]
    text = format_summary(summarise(pd.DataFrame(rows)))
    assert "sysu: train_set differs: 1a (a), 2b (b)" in text
    assert all(f"{name} differs" not in text for name in AGREED[1:]) and "none" not in text


def test_of_rows_older_than_the_record_one_column_says_so():
    facts = dict.fromkeys(AGREED, "x")
    means = summarise(pd.DataFrame([sysu(trial=1), sysu(trial=1, **facts), sysu(trial=1, **facts | {"norm": "y"})]))
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
    first, again = summarise(rows), summarise(rows.sample(frac=1, random_state=1).reset_index(drop=True))
    assert first[[*METRICS, "mAP_std"]].round(9).equals(again[[*METRICS, "mAP_std"]].round(9))
