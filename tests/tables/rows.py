"""Rows of results whose metrics are known, run folders of them, and a table's lines, for the tests of tables."""

import numpy as np
import pandas as pd

from pipeline.config import load_config, to_yaml
from pipeline.evaluation.results import METRICS, append_rows, rank_metrics, summarize
from pipeline.tables.build import table_beside_literature
from pipeline.tables.read import read_results

PUBLISHED = {"all": 301, "indoor": 112}
STRANGE = "a_b & 50% <script>alert(1)</script> $x^2$ {~} \\ # | `c` é"


def sysu_rows(run, value=40.0, seed=0, sizes=PUBLISHED, **more):
    """Ten trials of both modes; the metrics are known functions of all that varies."""
    facts = {"run": run, "dataset": "sysu", "split": "test", "test_set": "aa", "extractor": "network", "flip": False}
    facts |= {"epoch": 80, "seed": seed, "config": f"{run}", "recipe": "", "shots": "single", "evaluation": ""}
    facts |= {"gallery_rule": "official", "direction": "infrared_to_visible", "queries": 30}
    facts |= {"re_ranking": "none", "metric": "cosine"} | more
    above = {name: 8 * place for place, name in enumerate(rank_metrics())} | {"mAP": 32, "mINP": 40}
    return [
        facts
        | {"mode": mode, "gallery": gallery, "trial": trial}
        | {name: value + trial + above.get(name, 0) + 5 * (mode == "indoor") for name in METRICS}
        for mode, gallery in sizes.items()
        for trial in range(1, 11)
    ]


def other_rows(dataset, run, direction, value, trial=1, **more):
    facts = {"dataset": dataset, "gallery": 2060, "mode": "all", "gallery_rule": "all", "direction": direction}
    return [sysu_rows(run, value - trial)[trial - 1] | facts | {"trial": trial, "shots": "all"} | more]


def keep(folder, rows, *arguments):
    """Makes a run folder with these rows, and the configuration of the arguments."""
    folder.mkdir(parents=True)
    append_rows(folder / "results.csv", pd.DataFrame(rows))
    if arguments:
        (folder / "config.yaml").write_text(to_yaml(load_config([*arguments])))
    return folder


def table_of(layout, *folders):
    rows, places = read_results(list(folders))
    return table_beside_literature(layout, summarize(rows), places)


def line(table, label):
    """Returns (labels, shown, deviations) of the row that begins with `label`."""
    (place,) = np.flatnonzero(table.labels.iloc[:, 0] == label)
    return table.labels.iloc[place].tolist(), table.shown.iloc[place].tolist(), table.deviations.iloc[place].tolist()
