"""Which metrics are in which line and column, and which are marked."""

import re
import statistics

import numpy as np
import pandas as pd
import pytest

from pipeline.config import load_config
from pipeline.evaluation.results import summarize
from pipeline.literature import FOLDER, read_literature
from pipeline.tables.build import table_of_runs
from pipeline.tables.formats import FORMATS
from pipeline.tables.read import read_results
from pipeline.tables.table import BEST, SECOND, Table
from pipeline.tables.ticks import TICKS, ticks_by_row, ticks_of
from tests.tables.rows import PUBLISHED, keep, line, other_rows, sysu_rows, table_of


def test_the_literatures_results_have_a_source_and_the_rows_of_the_paper():
    rows = {"sysu_mm01": 12, "regdb_visible2thermal": 11, "same_backbone": 3, "ablation": 6}
    assert {file.stem for file in FOLDER.glob("*.csv")} == set(rows)
    for name, count in rows.items():
        table = read_literature(name)
        assert len(table) == count and "#" not in table.to_string()
        assert (FOLDER / f"{name}.csv").read_text().startswith("# Table ")
        metrics = table[[column for column in table if re.search("_?(r[0-9]+|map)$", column)]]
        values = metrics.replace("", np.nan).astype(float)
        assert ((values > 10) & (values < 100) | values.isna()).all().all()
    ours = {"all_r1": "51.05", "all_map": "49.63", "indoor_r1": "55.93", "indoor_map": "63.38"}
    for name, method in (("sysu_mm01", "Base-Derivative"), ("same_backbone", "Base-Derivative")):
        table = read_literature(name)
        assert table[table["method"] == method][list(ours)].iloc[0].to_dict() == ours
    assert read_literature("ablation").iloc[-1][list(ours)].to_dict() == ours


def test_sysu_has_the_papers_columns_and_our_means_below_the_literature(tmp_path):
    table = table_of("sysu", keep(tmp_path / "ours", sysu_rows("ours")))
    assert table.shown.columns.tolist() == [
        (f"{mode}-search", name) for mode in PUBLISHED for name in ("r=1", "r=10", "r=20", "mAP")
    ]
    assert line(table, "D-HSME")[1] == ["20.68", "62.74", "77.95", "23.12", "", "", "", ""]
    labels, shown, beside = line(table, "ours")
    means = [
        statistics.mean(40 + t + 8 * place + five for t in range(1, 11)) for five in (0, 5) for place in (0, 2, 3, 4)
    ]
    assert shown == [f"{mean:.2f}" for mean in means] and labels == ["ours", "ours"]
    assert beside == [f"±{statistics.stdev(range(1, 11)):.2f}"] * 8
    assert table.rules == [12] and table.block == ["published"] * 13
    assert any("over 10 trials" in note for note in table.notes)


def test_another_gallery_than_the_published_is_marked_and_never_best_of_the_literature(tmp_path):
    small = keep(tmp_path / "small", sysu_rows("small", 45, sizes={"all": 60, "indoor": 20}))
    table = table_of("sysu", small)
    marks, _ = table.marks(), line(table, "small†")
    assert table.block[-1] != "published" and (marks.iloc[-1] == "").all(), "the best of one is no best"
    assert marks[("all-search", "r=1")][11] == BEST and marks[("all-search", "r=1")][8] == SECOND
    assert any("gallery (60 or 20 images)" in note for note in table.notes)


def test_options_are_shown_and_protocols_kept_apart(tmp_path):
    rows = sysu_rows("a") + sysu_rows("a", flip=True) + sysu_rows("a", re_ranking="k_reciprocal(20,6,0.3)", value=1.0)
    rows += sysu_rows("a", metric="euclidean") + sysu_rows("b", gallery_rule="random_seed")
    names = table_of("sysu", keep(tmp_path / "a", rows)).labels.iloc[12:, 0].tolist()
    assert len(set(names)) == len(names) == 5
    assert "a (flip=True)" in names and "b (gallery_rule=random_seed)" in names
    assert "a (re_ranking=k_reciprocal(20,6,0.3))" in names and "a (metric=euclidean)" in "".join(names)


def test_regdb_is_the_mean_of_its_runs_in_the_papers_direction(tmp_path):
    runs = [
        keep(
            tmp_path / f"r-trial{trial}",
            other_rows("regdb", f"r-trial{trial}", "visible_to_infrared", 50.0 + 2 * trial, trial, recipe="12345678")
            + other_rows("regdb", f"r-trial{trial}", "infrared_to_visible", 5.0, trial, recipe="12345678"),
        )
        for trial in (1, 2, 4)
    ]
    table = table_of("regdb", *runs)
    labels, shown, beside = line(table, "r")
    assert shown[0] == f"{statistics.mean((52, 54, 58)):.2f}" and beside[0] == f"±{statistics.stdev((52, 54, 58)):.2f}"
    assert line(table, "AlignGAN")[1] == ["57.9", "", "", "53.6"]
    assert any("without the trials 3, 5, 6, 7, 8, 9, 10" in note for note in table.notes)


def test_llcm_shows_both_directions_and_says_that_there_is_no_literature(tmp_path):
    rows = other_rows("llcm", "l", "visible_to_infrared", 30.0, mode="paper", shots="single")
    rows += other_rows("llcm", "l", "infrared_to_visible", 35.0, mode="paper", shots="single")
    rows += other_rows("llcm", "l", "visible_to_infrared", 60.0, mode="repository", shots="single")
    table = table_of("llcm", keep(tmp_path / "l", rows))
    assert line(table, "l")[1][::4] == ["30.00", "35.00"] and line(table, "l (mode=repository)")[1][::4] == [
        "60.00",
        "",
    ]
    assert any("no results of the literature" in note for note in table.notes)


ABLATION = {"b1": "B1", "b2": "B2"} | {f"mdl{n}": f"B2+MML+MDL{n}" for n in (1, 2, 3, 4)}


@pytest.mark.parametrize("name", ABLATION)
def test_the_ticks_of_a_configuration_are_those_of_its_row_in_the_paper(name):
    assert (
        ticks_of(load_config(["configs/sysu.yaml", f"configs/ablation/{name}.yaml"])) == ticks_by_row()[ABLATION[name]]
    )


def test_the_ablation_has_our_runs_below_the_rows_of_the_same_losses(tmp_path):
    folders = [
        keep(tmp_path / name, sysu_rows(name), "configs/sysu.yaml", f"configs/ablation/{name}.yaml")
        for name in ("mdl4", "b1")
    ]
    regdb = other_rows("regdb", "x-b1", "visible_to_infrared", 33.0)
    folders.append(keep(tmp_path / "x-b1", regdb, "configs/regdb.yaml", "configs/ablation/b1.yaml"))
    folders.append(keep(tmp_path / "pixels", sysu_rows("pixels", extractor="pixels")))
    pairs = "losses.cross.pairs=[[visible,visible_derived]]"
    folders.append(keep(tmp_path / "odd", sysu_rows("odd"), "configs/sysu.yaml", pairs))
    table = table_of("ablation", *folders)
    names = table.labels.iloc[:, 0].tolist()
    assert names[:2] == ["B1", "ours, retrained: b1, x-b1"] and len(names) == 9
    assert names[-3:] == ["B2+MML+MDL4", "ours, retrained: mdl4", "ours: odd (base_derivative)"]
    ticks = table.labels.iloc[:, 1:]
    assert ticks.iloc[1].tolist() == ticks.iloc[0].tolist() == ["✓", "✓", "", "", "✓", "", "", "", "", ""]
    assert ticks.columns.tolist() == list(TICKS.values())
    assert line(table, "ours, retrained: b1, x-b1")[1][:3] == ["33.00", "65.00", "45.50"]
    left_out = [note for note in table.notes if "left out" in note]
    assert left_out == ["pixels (extractor=pixels) is left out: isn't a trained network"]
    (without,) = [note for note in table.notes if "no ticks" in note]
    assert without.startswith("odd has no ticks: ") and "no column for visible, visible_derived" in without


def test_the_runs_of_another_method_stand_below_all_others_without_ticks(tmp_path):
    """As those of `make ablation` do: a small network in all rows of table 4."""
    folders = [
        keep(tmp_path / name, sysu_rows(name, 40.0 + place), "configs/demo.yaml", f"configs/ablation/{name}.yaml")
        for place, name in enumerate(ABLATION)
    ]
    folders.append(keep(tmp_path / "true-b1", sysu_rows("true-b1"), "configs/sysu.yaml", "configs/ablation/b1.yaml"))
    folders.append(keep(tmp_path / "start", sysu_rows("start", epoch=0), "configs/demo.yaml"))
    folders.append(keep(tmp_path / "kept-no-configuration", sysu_rows("kept-no-configuration")))
    labels = [f"ours: {name} (base_derivative)" for name in ABLATION]
    table = table_of("ablation", *folders)
    assert table.labels.iloc[:, 0].tolist()[:2] == ["B1", "ours, retrained: true-b1"]
    assert table.labels.iloc[-6:, 0].tolist() == labels and len(table.labels) == 6 + 1 + 6
    assert (table.labels.iloc[-6:, 1:] == "").all(axis=None)
    assert [line(table, label)[1][2] for label in labels] == [f"{45.5 + place:.2f}" for place in range(6)]
    notes = [note for note in table.notes if "no ticks" in note or "left out" in note]
    small = 'model.backbone="resnet10t", model.stems="shared"'
    assert notes[:3] == [
        f"b1, b2, mdl1 have no ticks: isn't the method of table 4: {small}",
        f'mdl2, mdl3, mdl4 have no ticks: isn\'t the method of table 4: derive.visible=["weighted_gray"], {small}',
        "start is left out: isn't a trained network",
    ]
    assert notes[3].startswith("kept-no-configuration is left out: ") and len(notes) == 4
    assert table_of("same-backbone", *folders).labels.iloc[:, 0].tolist() == [
        *("Baseline", "AGW", "Base-Derivative", "ours: true-b1"),
        *labels,
    ]


def test_why_a_run_has_no_ticks_is_told_by_the_first_three_differences_and_its_gallery_is_marked(tmp_path):
    overrides = ("model.backbone=resnet18", "model.pooling=average", "model.stems=shared", "losses.intra.margin=1")
    rows = sysu_rows("odd", sizes={"all": 60, "indoor": 20})
    folder = keep(tmp_path / "odd", rows, "configs/sysu.yaml", "method.name=small", *overrides)
    table = table_of("ablation", folder)
    (note,) = [note for note in table.notes if "no ticks" in note]
    assert note.startswith("odd has no ticks: isn't the method of table 4: ") and note.endswith(", 1 more")
    assert note.count("=") == 3
    assert table.labels.iloc[-1, 0] == "ours: odd (small)†"


def test_the_same_backbone_has_our_baseline_below_the_papers(tmp_path):
    b2 = keep(tmp_path / "b2", sysu_rows("b2"), "configs/sysu.yaml", "configs/ablation/b2.yaml")
    names = table_of("same-backbone", b2).labels.iloc[:, 0].tolist()
    assert names == ["Baseline", "ours, retrained: b2", "AGW", "Base-Derivative"]


def test_the_best_and_the_second_of_each_block_are_marked_as_a_loop_finds_them():
    generator = np.random.default_rng(0)
    values = generator.integers(0, 6, (30, 4))
    blocks = [str(block) for block in generator.integers(0, 4, 30)] + ["alone"]
    shown = pd.DataFrame([*values.astype(str).tolist(), ["99", "", "1", "2"]]).replace("3", "")
    shown.columns = pd.MultiIndex.from_product([[""], list("abcd")])
    labels = pd.DataFrame({("", "run"): blocks})
    marks = Table("t", "", labels, shown, shown.map(lambda _: ""), blocks).marks()
    for row, column in np.ndindex(shown.shape):
        rivals = [
            float(shown.iloc[other, column])
            for other in range(len(blocks))
            if blocks[other] == blocks[row] and shown.iloc[other, column]
        ]
        better = {rival for rival in rivals if shown.iloc[row, column] and rival > float(shown.iloc[row, column])}
        expected = "" if not shown.iloc[row, column] or len(rivals) < 2 else [BEST, SECOND, *[""] * 9][len(better)]
        assert marks.iloc[row, column] == expected


def test_a_metric_that_older_rows_lack_is_an_empty_field(tmp_path):
    rows = [row | {"rank_20": np.nan, "mINP": np.nan} for row in sysu_rows("old", value=41.0)]
    folders = [keep(tmp_path / "old", rows), keep(tmp_path / "new", sysu_rows("new"))]
    table = table_of("sysu", *folders)
    columns = [name for _, name in table.shown]
    for label, lacking in (("old", ["r=20"]), ("new", [])):
        _, shown, beside = line(table, label)
        assert [name for name, text in zip(columns, shown, strict=True) if not text] == lacking * 2
        assert [not text for text in shown] == [not text for text in beside]
    whole = table_of_runs(summarize(read_results(folders)[0]))
    assert (whole.shown["", "mINP"] == "").tolist() == [True, True, False, False]
    assert "nan" not in "".join(to_form(made).lower() for to_form, _ in FORMATS.values() for made in (table, whole))


def test_lines_of_other_trainings_are_named_by_what_differs(tmp_path):
    facts = {"train_set": "1a", "weights": "random", "norm": "global", "ranks": "1"}
    rows = [*sysu_rows("a", **facts), *sysu_rows("a", **facts | {"train_set": "2b", "ranks": "4"}), *sysu_rows("a")]
    labels = table_of("sysu", keep(tmp_path / "a", rows)).labels.iloc[:, 0].tolist()
    assert labels[-3:] == ["a (train_set=1a)", "a (train_set=2b)", "a (train_set=not known)"]
