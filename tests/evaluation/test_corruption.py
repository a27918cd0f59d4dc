"""The evaluation of corrupted images, from settings to rows and tables."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from accelerate import Accelerator

from pipeline import evaluate, train
from pipeline.build import build_index
from pipeline.config import load_config
from pipeline.corruptions.corrupt import CORRUPTIONS
from pipeline.datasets.held_out import as_validations
from pipeline.evaluation import tested
from pipeline.evaluation.corruption import check_corruption, describe_corruption
from pipeline.evaluation.features import Extractor, extract_features, pixel_features
from pipeline.evaluation.rehearsal import rehearse
from pipeline.evaluation.results import METRICS, append_rows, format_summary, read_rows, summarize
from pipeline.evaluation.session import evaluate as evaluate_session
from pipeline.evaluation.session import open_session
from pipeline.loading.corrupted import CorruptedImages
from pipeline.settings import DIRECTIONS
from pipeline.tables.build import table_beside_literature
from pipeline.tables.corruption import table_of_corruptions
from pipeline.tables.formats import FORMATS
from pipeline.tables.read import read_results
from pipeline.tables.table import BEST
from tests.end_to_end.runs import refusal
from tests.tables.rows import keep, sysu_rows

FEW = ("none", "random", "fog", "rain")


@pytest.fixture(scope="module")
def arguments(people, tiny, tmp_path_factory):
    """Of an evaluation that needs no network."""
    output = tmp_path_factory.mktemp("runs")
    data = ["configs/folder.yaml", *tiny, f"data.root={people}", "evaluation.extractor=pixels"]
    return [*data, "name=pixels", f"output={output}"]


@pytest.fixture(scope="module")
def noise():
    """Every kind is noise, and fast: tests/corruptions looks at the kinds themselves."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in CORRUPTIONS:
            patch.setitem(CORRUPTIONS, kind, lambda image, level, random: image * random.random(image.shape))
        yield


@pytest.fixture(scope="module")
def folder(arguments, noise):
    """The run folder after an evaluation of all corruptions, as if there were few."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tested, "KINDS", FEW)
        evaluate.main([*arguments, "evaluation.corruption=all"])
    return Path(load_config(arguments).output) / "pixels"


def settings_of(*overrides):
    return load_config(["configs/demo.yaml", *overrides])


@pytest.mark.parametrize(
    ("overrides", "written"),
    [
        ([], "none"),
        (["evaluation.corruption=fog"], "fog"),
        (["evaluation.corruption=fog", "evaluation.corruption_level=3"], "fog(3)"),
        (["evaluation.corruption=random", "evaluation.corrupted=[infrared]"], "random(infrared)"),
        (
            ["evaluation.corruption=snow", "evaluation.corruption_level=1", "evaluation.corrupted=[infrared,visible]"],
            "snow(1,visible+infrared)",
        ),
        (["evaluation.corrupted=[infrared]"], "none"),
    ],
)
def test_rows_name_the_corruption_with_its_parameters(overrides, written):
    evaluation = settings_of(*overrides).evaluation
    check_corruption(evaluation)
    assert describe_corruption(evaluation) == written


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["corruption=frog"], r"evaluation.corruption: expected one of none, .*; found 'frog'; the nearest is fog"),
        (["corruption_level=2"], "evaluation.corruption_level: 2 is of a corruption; found evaluation.corruption=none"),
        (["corruption=fog", "corruption_level=6"], "evaluation.corruption_level: expected at most 5; found 6"),
        (["corruption=fog", "corrupted=[]"], "evaluation.corrupted: expected visible, infrared or both; found none"),
        (["corruption=fog", "corrupted=[thermal]"], "evaluation.corrupted: expected elements among visible, infrared"),
    ],
)
def test_what_cannot_be_is_one_line_before_any_work(overrides, message, capsys, tmp_path):
    words = ["configs/demo.yaml", f"output={tmp_path}", *(f"evaluation.{one}" for one in overrides)]
    for main in (evaluate.main, train.main):
        assert re.search(message, refusal(main, words, capsys))


def test_validations_see_the_images_as_they_were_captured():
    settings = settings_of("evaluation.corruption=fog", "evaluation.corruption_level=2")
    kept = as_validations(settings)
    assert (kept["corruption"], kept["corruption_level"]) == ("none", None)


def test_all_is_every_kind_in_turn_with_rows_of_their_own(folder):
    rows = read_rows(folder / "results.csv")
    assert ("none", "random", *CORRUPTIONS) == tested.KINDS
    assert rows["corruption"].drop_duplicates().tolist() == [*FEW]
    assert (rows.groupby("corruption").size() == 2).all() and rows["evaluation"].nunique() == 2 * len(FEW)
    assert {file.stem for file in (folder / "queries").iterdir()} == {*rows["evaluation"]}
    clean = rows[METRICS][rows["corruption"] == "none"].to_numpy()
    for _, of_kind in rows[rows["corruption"] != "none"].groupby("corruption"):
        assert (of_kind[METRICS].to_numpy() != clean).any()
    assert len(summarize(rows)) == 2 * len(FEW), "no mean is over rows of two corruptions"


@pytest.mark.parametrize("kind", ["none", "fog", "random"])
def test_a_kind_alone_gives_what_it_gives_among_all(folder, arguments, noise, kind):
    rows = read_rows(folder / "results.csv")
    alone = evaluate_session(open_session([*arguments, f"evaluation.corruption={kind}"])).result.trial_results
    pd.testing.assert_frame_equal(alone[METRICS], rows[METRICS][rows["corruption"] == kind].reset_index(drop=True))
    assert alone["corruption"].tolist() == [kind] * 2


def test_only_the_modalities_asked_for_are_corrupted(arguments, noise):
    fog = [*arguments, "evaluation.corruption=fog"]
    plain, visible, infrared = (
        evaluate_session(open_session(own)) for own in (arguments, fog, [*fog, "evaluation.corrupted=infrared"])
    )
    is_infrared = plain.session.index["modality"].to_numpy()[plain.rows] == 1
    for other, unchanged in ((visible, is_infrared), (infrared, ~is_infrared)):
        same = (other.features == plain.features).all(dim=1).numpy()
        np.testing.assert_array_equal(same, unchanged)


def test_a_training_rehearses_all_as_random(arguments, monkeypatch):
    settings = load_config([*arguments, "evaluation.corruption=all"])
    seen = []
    monkeypatch.setattr(CorruptedImages, "feed", spied(CorruptedImages.feed, seen))
    rehearse(settings, build_index(settings.data), Extractor(pixel_features), Accelerator(cpu=True))
    assert {*seen} == {"random"}


def spied(feed, seen):
    def spy(self, rows):
        seen.append(self._settings.evaluation.corruption)
        return feed(self, rows)

    return spy


def test_saved_features_know_of_which_corruption_they_are(arguments, people, noise, tmp_path, capsys):
    file = tmp_path / "features.npz"
    fog = [*arguments, "evaluation.corruption=fog", "evaluation.corruption_level=2"]
    evaluate.main([*fog, f"output={tmp_path}", "--save-features", str(file)])
    evaluate.main(["--features", str(file), "--dataset", "folder", "--root", str(people), f"output={tmp_path}"])
    rows = read_rows(tmp_path / "features-features" / "results.csv")
    assert rows["corruption"].tolist() == ["fog(2)"] * 2
    pd.testing.assert_frame_equal(rows[METRICS], read_rows(tmp_path / "pixels" / "results.csv")[METRICS])


def test_features_that_cannot_be_had_are_one_line(arguments, people, tmp_path, capsys):
    every, file = [*arguments, "evaluation.corruption=all"], tmp_path / "features.npz"
    error = refusal(evaluate.main, [*every, "--save-features", file], capsys)
    assert "evaluation.corruption: --save-features saves features of one corruption; found all" in error
    with pytest.raises(ValueError, match="evaluation.corruption: features are of one corruption; found all"):
        extract_features(Extractor(pixel_features), None, np.arange(2), load_config(every), None)
    for key in ("corruption=fog", "corruption_level=2", "corrupted=infrared"):
        words = ["--features", file, "--dataset", "folder", "--root", people, f"evaluation.{key}"]
        assert "says how a network's features are made" in refusal(evaluate.main, words, capsys)


# ---------------------------------------------------------------- tables


def test_the_table_has_the_kinds_in_order_and_their_mean(folder):
    rows = read_rows(folder / "results.csv")
    table = table_of_corruptions(summarize(rows))
    labels = table.labels.droplevel(0, axis=1)
    kinds = ["none", "random", "mean of 2", "fog", "rain"]
    assert labels["corruption"].tolist() == kinds * 2 and table.rules == [len(kinds)]
    assert labels["direction"].tolist() == [name for name in DIRECTIONS for _ in kinds]
    for place, direction in enumerate(DIRECTIONS):
        single = rows[rows["corruption"].isin([*CORRUPTIONS]) & (rows["direction"] == direction)]
        shown = table.shown.iloc[place * len(kinds) + kinds.index("mean of 2")].tolist()
        assert shown == [f"{value:.2f}" for value in single[METRICS].mean()]


def test_runs_stand_below_each_other_and_the_best_of_a_kind_is_marked(tmp_path):
    kinds = {"none": 40.0, "fog(3)": 30.0, "frost(3)": 20.0, "fog": 25.0}
    folders = [
        keep(
            tmp_path / run,
            [row for kind, value in kinds.items() for row in sysu_rows(run, value + more, corruption=kind)],
        )
        for run, more in (("a", 0), ("b", 3))
    ]
    folders.append(keep(tmp_path / "older", sysu_rows("older")))
    rows, places = read_results(folders)
    table = table_of_corruptions(summarize(rows))
    labels = table.labels.droplevel(0, axis=1)
    order = [kind for kind in ("none", "mean of 1", "fog", "mean of 2(3)", "frost(3)", "fog(3)") for _ in "ab"]
    assert labels["corruption"].tolist() == order * 2 and labels["run"].tolist() == ["a", "b"] * 12
    assert set(table.marks()[("", "mAP")].iloc[1::2]) == {BEST}
    beside = table_beside_literature("sysu", summarize(rows), places)
    ours = beside.labels.iloc[12:, 0].tolist()
    assert ours == ["a", "b", "older"], "the literature's results are of images as captured"
    for form, _ in FORMATS.values():
        assert "frost(3)" in form(table)


def test_without_corrupted_images_there_is_no_such_table(tmp_path):
    rows, _ = read_results([keep(tmp_path / "older", sysu_rows("older"))])
    with pytest.raises(ValueError, match="--layout corruption: .* evaluate them with evaluation.corruption=all"):
        table_of_corruptions(summarize(rows))


def test_rows_without_the_column_are_of_images_as_captured(tmp_path):
    older = keep(tmp_path / "a", sysu_rows("a")[:6])
    newer = sysu_rows("a", corruption="none")[6:10] + sysu_rows("a", corruption="fog")
    append_rows(older / "results.csv", pd.DataFrame(newer))
    means = summarize(read_rows(older / "results.csv"))
    assert means["corruption"].tolist() == ["none", "fog", "fog"] and means["trials"].tolist() == [10, 10, 10]
    text = format_summary(means)
    assert "corruption" in text and "fog" in text
