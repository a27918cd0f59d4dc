"""metrics.csv: rows of before a resume, cut rows, and columns of stages."""

import pandas as pd

from pipeline.run.metrics import MetricsFile


def test_metrics_after_the_resumed_step_and_a_cut_row_are_dropped(tmp_path):
    file = tmp_path / "metrics.csv"
    metrics = MetricsFile(file, 0)
    for step in (10, 20, 30):
        metrics.append({"step": step, "loss": step / 3})
    with open(file, "a") as stream:
        stream.write("40,1")  # a kill while the row was being written
    MetricsFile(file, 20).append({"step": 25, "loss": 1.0})
    kept = pd.read_csv(file)
    assert kept["step"].tolist() == [10, 20, 25]
    assert kept["loss"][1] == 20 / 3


def test_rows_without_a_validation_are_kept_and_older_files_go_on_as_they_are(tmp_path):
    file = tmp_path / "metrics.csv"
    metrics = MetricsFile(file, 0)
    for step, found in ((10, None), (20, 31.5), (30, None)):
        metrics.append({"step": step, "loss": 1.0, "val_mAP": found})
    with open(file, "a") as stream:
        stream.write("35")  # a kill while the row was being written
    MetricsFile(file, 35).append({"step": 40, "loss": 2.0, "val_mAP": 33.0})
    kept = pd.read_csv(file)
    assert kept["step"].tolist() == [10, 20, 30, 40]
    assert kept["val_mAP"].fillna(-1).tolist() == [-1, 31.5, -1, 33.0]
    file.write_text("step,loss\n10,3.0\n")
    MetricsFile(file, 10).append({"step": 20, "loss": 2.0})
    assert pd.read_csv(file).to_dict("list") == {"step": [10, 20], "loss": [3.0, 2.0]}


def test_a_stage_with_other_parts_of_the_loss_gets_columns_of_its_own(tmp_path):
    file = tmp_path / "metrics.csv"
    beside = {"gradient_norm": 1.0, "images_per_second": 9.5}
    MetricsFile(file, 0).append({"step": 10, "loss": 1.0, "identity": 0.1} | beside)
    MetricsFile(file, 10).append({"step": 20, "loss": 2.0, "cycle": 0.25} | beside)
    MetricsFile(file, 20).append({"step": 30, "loss": 3.0, "identity": 0.5, "cycle": 0.125} | beside)
    kept = pd.read_csv(file)
    assert [*kept] == ["step", "loss", "identity", "cycle", "gradient_norm", "images_per_second"]
    assert kept["loss"].tolist() == [1, 2, 3] and kept["images_per_second"].tolist() == [9.5] * 3
    assert kept["identity"].fillna(-1).tolist() == [0.1, -1, 0.5]
    assert kept["cycle"].fillna(-1).tolist() == [-1, 0.25, 0.125]


def test_metrics_start_anew_where_nothing_counts(tmp_path):
    file = tmp_path / "metrics.csv"
    MetricsFile(file, 0).append({"step": 5, "loss": 1.0})
    MetricsFile(file, 0).append({"step": 7, "loss": 2.0, "intra": 3.0})
    assert pd.read_csv(file).to_dict("list") == {"step": [7], "loss": [2.0], "intra": [3.0]}
