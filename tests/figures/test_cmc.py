import numpy as np
import pytest

from pipeline.evaluation.ranking import Scores
from pipeline.figures import style
from pipeline.figures.cmc import curve_label, draw_cmc, mean_cmc, mean_curves
from pipeline.figures.evaluated_run import group_names, trial_groups
from pipeline.protocols import Trial, exclude_none

DIRECTIONS = ("visible to infrared", "infrared to visible")


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def scores_of(ranks, most=20):
    ranks = np.array(ranks)
    cmc = np.array([(ranks <= k).mean() for k in range(1, most + 1)])
    return Scores(cmc, 0.0, 0.0, len(ranks), ranks, ranks, ranks)


def test_a_curve_is_the_mean_over_trials_and_not_over_queries():
    first, second = [1, 1, 3, 30], [2]
    expected = []
    for k in range(1, 21):
        hits = [sum(rank <= k for rank in ranks) / len(ranks) for ranks in (first, second)]
        expected.append(sum(hits) / 2)
    assert mean_cmc([scores_of(first), scores_of(second)]).tolist() == pytest.approx(expected)


def trial(mode, direction="a_to_b"):
    return Trial(
        np.arange(1), np.arange(1), exclude_none, True, {"mode": mode, "shots": "single", "direction": direction}
    )


def test_trials_are_grouped_by_what_they_search_and_named_by_what_differs():
    groups = trial_groups([trial("all"), trial("all"), trial("indoor"), trial("all")])
    assert list(groups.values()) == [[0, 1, 3], [2]]
    assert list(group_names(list(groups)).values()) == ["all", "indoor"]
    assert list(group_names(list(groups)[:1]).values()) == [""]
    both = trial_groups([trial("all"), trial("all", "b_to_a")])
    assert list(group_names(list(both)).values()) == ["a_to_b", "b_to_a"]


def test_every_run_and_group_is_a_line_of_the_legend(evaluated):
    curves = mean_curves([evaluated, evaluated])
    assert len(curves) == 4
    for (_, group), curve in curves.items():
        (number,) = trial_groups(evaluated.trials)[group]
        assert curve.tolist() == evaluated.scores[number].cmc.tolist()
    figure = draw_cmc(curves, ["one", "_two $x$"])
    assert [label.strip() for label in legend_of(figure)] == [
        f"{run}, {way}" for run in ("one", "_two $x$") for way in DIRECTIONS
    ]
    axes = figure.axes[0]
    for line, curve in zip(axes.get_lines(), curves.values(), strict=True):
        np.testing.assert_allclose(line.get_ydata(), 100 * curve)
        np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 21))
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.get_lines()}) == 4


def test_one_run_needs_no_name_and_one_group_no_label(evaluated):
    curves = mean_curves([evaluated])
    assert legend_of(draw_cmc(curves, ["one"])) == list(DIRECTIONS)
    only = dict([next(iter(curves.items()))])
    figure = draw_cmc(only, ["one"])
    assert legend_of(figure) == ["one"]
    assert figure.axes[0].get_lines()[0].get_color() == style.PALETTE[0]
    assert curve_label("x" * 300, "all").startswith("x…x") and len(curve_label("x" * 300, "all")) < 40
