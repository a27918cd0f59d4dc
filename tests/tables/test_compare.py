"""Differences between two runs, with their intervals."""

import statistics

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation.per_query import COLUMNS, write_queries
from pipeline.evaluation.results import METRICS, summarize
from pipeline.tables.__main__ import main
from pipeline.tables.compare import difference, metrics_by_query
from pipeline.tables.read import read_results
from tests.tables.rows import keep, sysu_rows


def evaluated(folder, run, precision, trials=(1, 2)):
    """A run folder of queries with these average precisions: (trial, query) -> value; two queries a person."""
    rows = [sysu_rows(run, evaluation="e1", seed=0)[trial - 1] for trial in trials]
    queries = [
        (trial, f"q{query}", query // 2, precision[number, query], 1 + int(precision[number, query] < 0.5), 0.5)
        for number, trial in enumerate(trials)
        for query in range(precision.shape[1])
    ]
    for number, row in enumerate(rows):
        row |= {"mAP": 100 * precision[number].mean(), "rank_1": 100 * (precision[number] >= 0.5).mean()}
    keep(folder, rows)
    write_queries(folder, {"e1": pd.DataFrame(queries, columns=COLUMNS)})
    return folder


def slow_interval(first, second, people, draws=4000):
    """Resamples whole people with all their queries, one draw after the other."""
    generator, values = np.random.default_rng(5), []
    for _ in range(draws):
        chosen = generator.choice(np.unique(people), len(np.unique(people)))
        queries = [query for person in chosen for query in np.flatnonzero(people == person)]
        values.append(statistics.mean(100 * (first[q] - second[q]) for q in queries))
    return np.percentile(values, [2.5, 97.5])


def test_the_interval_is_that_of_resampled_people_and_the_difference_that_of_the_table(tmp_path, capsys):
    generator = np.random.default_rng(0)
    a, b = generator.random((2, 40)), generator.random((2, 40)) * 0.7
    folders = [evaluated(tmp_path / "a", "a", a), evaluated(tmp_path / "b", "b", b)]
    rows, places = read_results(folders)
    both = [metrics_by_query(rows[rows["run"] == run], places) for run in "ab"]
    mean, interval, people = difference(*both)
    means = summarize(rows)
    column = METRICS.index("mAP")
    assert people == 20 and mean[column] == pytest.approx(means["mAP"][0] - means["mAP"][1])
    assert mean[0] == pytest.approx(means["rank_1"][0] - means["rank_1"][1])
    expected = slow_interval(a.mean(axis=0), b.mean(axis=0), np.arange(40) // 2)
    np.testing.assert_allclose(interval[column], expected, atol=0.5)
    main([str(folders[0]), "--compare", str(folders[1])])
    printed = capsys.readouterr().out
    assert f"{mean[column]:+.2f} [{interval[column][0]:+.2f}, {interval[column][1]:+.2f}]" in printed
    assert "over the 20 people of the queries" in printed


def test_without_metrics_by_query_or_with_others_there_is_no_interval_and_it_is_said(tmp_path, capsys):
    generator = np.random.default_rng(0)
    a = evaluated(tmp_path / "a", "a", generator.random((2, 8)))
    few = evaluated(tmp_path / "few", "few", generator.random((2, 6)))
    without = keep(tmp_path / "without", sysu_rows("without"))
    for other, message in ((few, "their queries aren't the same"), (without, "without: no metrics by query; `python")):
        with pytest.raises(SystemExit):
            main([str(other), "--compare", str(a)])
        assert message in capsys.readouterr().err
