import pandas as pd

from pipeline.evaluation.results import named_means
from tests.evaluation.result_rows import sysu

TRIALS = [(1, 40.0), (2, 60.0)]


def test_corrupted_images_stand_for_those_as_captured_only_where_there_are_none():
    common = {"mode": "all", "shots": "single", "direction": "infrared_to_visible"}
    kinds = (("none", 20), ("fog", 0))
    both = pd.DataFrame(
        [sysu(trial=of, value=by + more, corruption=kind, **common) for kind, more in kinds for of, by in TRIALS]
    )
    assert named_means(both)["test/all/mAP"] == 70
    assert named_means(both[both["corruption"] == "fog"])["test/all/mAP"] == 50


def test_means_are_named_by_what_differs():
    both = [
        sysu(trial=trial, value=value + more, mode=mode, shots="single", direction="infrared_to_visible")
        for mode, more in (("all", 0), ("indoor", 10))
        for trial, value in TRIALS
    ]
    assert named_means(pd.DataFrame(both)) == {
        f"test/{mode}/{metric}": value
        for mode, value in (("all", 50), ("indoor", 60))
        for metric in ("rank_1", "mAP", "mINP")
    }
    one = [row for row in both if row["mode"] == "all"]
    assert [*named_means(pd.DataFrame(one))] == ["test/all/rank_1", "test/all/mAP", "test/all/mINP"]
    directions = [row | {"direction": f"{way}"} for row in one for way in ("there", "back")]
    assert {name.rpartition("/")[0] for name in named_means(pd.DataFrame(directions))} == {"test/there", "test/back"}
    shots = [row | {"shots": shots} for row in both for shots in ("single", "multi")]
    assert {name.rpartition("/")[0] for name in named_means(pd.DataFrame(shots))} == {
        f"test/{mode}/{shots}" for mode in ("all", "indoor") for shots in ("single", "multi")
    }
