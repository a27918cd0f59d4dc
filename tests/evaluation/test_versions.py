"""Rows that versions with other columns wrote: read, kept, averaged, compared."""

import contextlib

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation.per_query import COLUMNS, write_queries
from pipeline.evaluation.results import AGREED, METRICS, append_rows, format_summary, groups_of, read_rows, summarize
from pipeline.evaluation.results.schema import foreign_metrics
from pipeline.tables.build import table_of_runs
from pipeline.tables.compare import metrics_by_query
from pipeline.tables.read import read_results
from tests.evaluation.result_rows import row, sysu

NEW = next(name for name in ("rank_50", "rank_51") if name not in METRICS)


@contextlib.contextmanager
def version(metric):
    """A version with one metric more; all modules share the list."""
    METRICS.insert(-2, metric)
    try:
        yield
    finally:
        METRICS.remove(metric)


@pytest.fixture
def file(tmp_path):
    """A results.csv of three trials, by this version."""
    append_rows(tmp_path / "results.csv", pd.DataFrame([row(trial=n, value=10.0 * n) for n in (1, 2, 3)]))
    return tmp_path / "results.csv"


@pytest.fixture
def newer(tmp_path):
    """A results.csv of two seeds by a version with one rank more, which differs from trial to trial."""
    with version(NEW):
        rows = [sysu(f"a-seed{s}", t, s, 10.0 * t) | {NEW: 50.0 + t + s / 8} for s in (0, 1) for t in (1, 2, 3)]
        append_rows(tmp_path / "results.csv", pd.DataFrame(rows))
    return tmp_path / "results.csv"


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


# ---------------------------------------------------------------- a metric more than the file has


def test_rows_older_than_a_metric_lose_nothing(file):
    old = [line.split(",") for line in file.read_text().splitlines()]
    with version(NEW):
        rows = read_rows(file)
        assert rows["mAP"].tolist() == [10, 20, 30] and rows[NEW].isna().all()
        append_rows(file, pd.DataFrame([row(run="b", trial=n, value=5.0 * n) for n in (1, 2)]))
        assert names(file.parent) == ["results.csv", "results.lock"]
        kept = pd.read_csv(file, dtype=str, keep_default_na=False)
        assert kept[old[0]].iloc[:3].to_numpy().tolist() == old[1:], "as they were written"
        means = summarize(read_rows(file))
        assert means["run"].tolist() == ["a", "b"] and means["mAP"].tolist() == [20, 7.5]
        assert np.isnan(means[NEW][0]) and means[NEW][1] == 7.5
        printed = format_summary(means)
        assert "nan" not in printed.lower() and printed.splitlines()[1].count("20.00") == len(METRICS) - 1
        shown = table_of_runs(means).shown
        assert shown["", NEW].tolist() == ["", "7.50"] and shown["", "mAP"].tolist() == ["20.00", "7.50"]


def test_a_file_with_none_of_the_metrics_of_now_is_read_for_those_it_has(file):
    text = file.read_text()
    for name in METRICS:
        text = text.replace(name, f"{name}_by_camera")
    file.write_text(text)
    append_rows(file, pd.DataFrame([row(run="b")]))
    means = summarize(read_rows(file))
    assert names(file.parent) == ["results.csv", "results.lock"] and means["mAP_by_camera"].tolist()[0] == 20
    assert means["mAP"].isna().tolist() == [True, False] and np.isnan(means["mAP_by_camera"][1])


def test_metrics_by_query_have_a_rank_that_is_younger_than_they_are(tmp_path):
    rows = pd.DataFrame([sysu("a", 1, evaluation="e1")])
    (tmp_path / "a").mkdir()
    append_rows(tmp_path / "a" / "results.csv", rows)
    ranks = [1, 30, 60]
    queries = [(1, f"q{number}", number, 0.5, rank, 0.5) for number, rank in enumerate(ranks)]
    write_queries(tmp_path / "a", {"e1": pd.DataFrame(queries, columns=COLUMNS)})
    with version(NEW):
        found, places = read_results([tmp_path / "a"])
        assert metrics_by_query(found, places)[NEW].tolist() == [100, 100, 0]
        assert metrics_by_query(found, places)["rank_20"].tolist() == [100, 0, 0]


# ---------------------------------------------------------------- a metric less than the file has


def test_a_metric_that_this_version_lacks_is_averaged_and_divides_nothing(newer):
    rows = read_rows(newer)
    assert foreign_metrics(rows) == [NEW] and rows[NEW].dtype == np.float64
    means = summarize(rows)
    with version(NEW):
        expected = summarize(read_rows(newer))
        text = format_summary(expected)
    assert means["run"].tolist() == ["a"] and NEW not in format_summary(means) and NEW in text
    pd.testing.assert_frame_equal(means[list(expected)], expected)
    assert means[NEW][0] == pytest.approx(52 + 1 / 16)


def test_an_older_version_adds_rows_to_a_newer_file_and_keeps_what_it_doesnt_know(newer):
    written = pd.read_csv(newer, dtype=str)[NEW]
    append_rows(newer, pd.DataFrame([sysu("a-seed0", 1, 0, 11.0), sysu("b-seed0", 1, 0, 7.0, recipe="b")]))
    kept = pd.read_csv(newer, dtype=str, keep_default_na=False)
    assert kept[NEW].tolist() == [*written[1:], "", ""], "a row evaluated again replaces its twin"
    assert names(newer.parent) == ["results.csv", "results.lock"]
    with version(NEW):
        means = summarize(read_rows(newer))
    assert means["run"].tolist() == ["a", "b-seed0"] and means[NEW].isna().all(), "no mean is over some of its rows"


def test_runs_of_two_versions_share_a_mean(tmp_path):
    for seed, metrics in enumerate(({}, {NEW: 90.0})):
        (tmp_path / f"a-seed{seed}").mkdir()
        rows = pd.DataFrame([sysu(f"a-seed{seed}", t, seed, 10.0 * seed) | metrics for t in (1, 2)])
        append_rows(tmp_path / f"a-seed{seed}" / "results.csv", rows)
    rows, _ = read_results([tmp_path / "a-seed0", tmp_path / "a-seed1"])
    means = summarize(rows)
    assert means["run"].tolist() == ["a"] and means["mAP"].tolist() == [5] and means[NEW].isna().all()
    assert len(groups_of(rows)) == 1


@pytest.mark.parametrize(
    ("values", "is_metric"),
    [
        (("10.0", "7"), True),
        (("1e-05", ""), True),
        (("-3.5", "100.0"), True),
        (("00000012", "00000013"), False),
        (("1e000012", "12345678"), False),
        (("True", "False"), False),
        (("nan", "1.0"), False),
        (("", ""), False),
        (("1.0", "none"), False),
    ],
)
def test_an_unknown_column_is_a_metric_where_it_holds_numbers_and_else_an_option(file, values, is_metric):
    rows = [row(run="b", trial=n, value=10.0, of_next_year=value) for n, value in enumerate(values)]
    append_rows(file, pd.DataFrame(rows))
    found = read_rows(file)
    assert foreign_metrics(found) == (["of_next_year"] if is_metric else [])
    divided = not is_metric and values[0] != values[1]
    assert summarize(found)["run"].tolist() == ["a", "b", "b"][: 3 if divided else 2]


def test_no_mean_is_over_some_of_its_rows(tmp_path):
    rows = [row(trial=n, value=10.0 * n) for n in (1, 2, 3)]
    rows[1] |= {"mINP": np.nan}
    append_rows(tmp_path / "results.csv", pd.DataFrame(rows))
    means = summarize(read_rows(tmp_path / "results.csv"))
    assert means["mAP"].tolist() == [20] and means[["mINP", "mINP_std"]].isna().all(axis=None)


# ---------------------------------------------------------------- other columns


def test_rows_without_counts_stay_readable_next_to_rows_with_them(file):
    append_rows(file, pd.DataFrame([row(run="b", queries=30, gallery=9)]))
    append_rows(file, pd.DataFrame([row(run="c", queries=30, gallery=9)]))
    rows = read_rows(file)
    assert rows["gallery"].isna().tolist() == [True] * 3 + [False] * 2
    assert summarize(rows)["gallery"].tolist() == ["0", "9", "9"]
    assert not list(file.parent.glob("*unreadable*"))


def test_a_mean_of_older_rows_stays_what_it_was_next_to_newer_ones():
    facts = dict.fromkeys(AGREED, "x")
    old = [sysu(f"a-seed{seed}", 1, seed, 10.0 * seed) for seed in (1, 2)]
    new = [sysu(f"b-seed{seed}", 1, seed, 30.0 * seed, **facts) for seed in (1, 2)]
    means = summarize(pd.DataFrame([*old, *new]))
    assert means["run"].tolist() == ["a", "b"] and means["mAP"].tolist() == [15, 45]


def test_a_data_set_that_this_version_doesnt_know_is_averaged_and_nothing_is_missed():
    rows = [sysu("a", trial, dataset="of_next_year") for trial in (1, 2)]
    means = summarize(pd.DataFrame(rows))
    assert means[["trials", "expected", "missing"]].iloc[0].tolist() == [2, 0, ""]
