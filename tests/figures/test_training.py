import numpy as np
import pandas as pd
import pytest

from pipeline.figures.evaluated_run import LeftOut
from pipeline.figures.training import draw_training, training_curves


def test_training_curves_are_the_rows_of_the_metrics(run, tmp_path):
    metrics = training_curves(run / "metrics.csv")
    written = pd.read_csv(run / "metrics.csv")
    figure = draw_training({"one": metrics, "_two": metrics})
    assert [axes.get_title() for axes in figure.axes] == ["loss", "identity", "intra", "cross", "learning rate"]
    for axes, name in zip(figure.axes, ("loss", "identity", "intra", "cross", "lr"), strict=True):
        for line in axes.get_lines():
            np.testing.assert_allclose(line.get_xdata(), written["epoch"])
            np.testing.assert_allclose(line.get_ydata(), written[name])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [" one", " _two"]
    cut = tmp_path / "metrics.csv"
    cut.write_text((run / "metrics.csv").read_text() + "9")
    assert len(training_curves(cut)) == len(written), "a row truncated by a crash isn't drawn"
    cut.write_text("")
    with pytest.raises(LeftOut, match=r"metrics.csv isn't there or is empty"):
        training_curves(cut)


def test_a_part_that_only_one_run_has_is_drawn_of_that_run(run):
    metrics = training_curves(run / "metrics.csv")
    figure = draw_training({"all": metrics, "identity alone": metrics.filter(regex="^(?!intra|cross)")})
    assert [len(axes.get_lines()) for axes in figure.axes] == [2, 2, 1, 1, 2]


def test_validations_have_panels_of_the_points_there_are(run):
    metrics = training_curves(run / "metrics.csv")
    values = [np.nan] * (len(metrics) - 1) + [31.5]
    validated = metrics.assign(val_mAP=values, val_rank_1=values, val_mINP=values)
    figure = draw_training({"without": metrics, "with": validated})
    panels = {axes.get_title(): axes for axes in figure.axes}
    assert list(panels)[:5] == ["loss", "identity", "intra", "cross", "learning rate"]
    assert list(panels)[5:] == ["validation: mAP", "validation: rank-1", "validation: mINP"]
    (line,) = panels["validation: mAP"].get_lines()
    assert line.get_xydata().tolist() == [[metrics["epoch"].iloc[-1], 31.5]] and line.get_marker() == "."
    assert panels["validation: mAP"].get_xlabel() == "" and figure.axes[-1].get_xlabel() == "epoch"
