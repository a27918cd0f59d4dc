"""Which published row our runs stand below: that of the method's published name, or of the same ticks."""

from pathlib import Path

import pytest

from pipeline.config import load_config, to_yaml
from pipeline.evaluation.results import format_summary, summarize
from pipeline.literature import read_literature
from pipeline.tables.build import table_of_runs
from pipeline.tables.formats import FORMATS
from pipeline.tables.read import read_results
from tests.tables.rows import keep, line, other_rows, sysu_rows, table_of

METHODS = sorted(Path("configs/methods").glob("*.yaml"))
NOTE = "‡ a reconstruction: the paper says too little, or there is no code of the authors to follow"


def trained(folder, published, rows=None, *more, config="configs/sysu.yaml"):
    """A run of a method with that name in the literature."""
    named = [f"method.name={folder.name}", *([f"method.published={published}"] if published else [])]
    return keep(folder, rows or sysu_rows(folder.name), config, *named, *more)


def labels(table):
    return table.labels.agg("|".join, axis=1).tolist()


@pytest.mark.parametrize("file", METHODS, ids=lambda file: file.stem)
def test_the_published_name_of_a_method_is_in_a_table_of_the_literature(file):
    tables = [read_literature(name) for name in ("sysu_mm01", "regdb_visible2thermal", "same_backbone")]
    method = load_config([str(file)]).method
    assert method.source in ("authors' code", "paper", "reconstruction")
    assert method.published is None or method.published in {name for table in tables for name in table["method"]}


def test_in_every_table_a_published_row_has_our_run_of_its_method_right_below(tmp_path):
    cases = [("sysu", "sysu_mm01"), ("regdb", "regdb_visible2thermal"), ("same-backbone", "same_backbone")]
    for layout, literature in cases:
        names = [name for name in read_literature(literature)["method"] if name not in ("Baseline", "Base-Derivative")]
        names = names[::3]
        regdb = layout == "regdb"
        folders = []
        for name in reversed(names):
            run = f"our-{name}"
            rows = other_rows("regdb", run, "visible_to_infrared", 50.0) if regdb else sysu_rows(run)
            config = "configs/regdb.yaml" if regdb else "configs/sysu.yaml"
            folders.append(trained(tmp_path / layout / run, name, rows, config=config))
        table = table_of(layout, *folders)
        found = labels(table)
        for name in names:
            place = next(number for number, label in enumerate(found) if label.split("|")[0] == name)
            ours = f"our-{name}|ours, retrained" if layout != "same-backbone" else f"ours, retrained: our-{name}"
            assert found[place + 1] == ours
        assert len(found) == len(read_literature(literature)) + len(names)
        assert table.rules == [] and not [note for note in table.notes if "no ticks" in note]


def test_the_base_derivative_method_is_matched_by_its_ticks_in_every_table(tmp_path):
    folders = [
        keep(tmp_path / name, sysu_rows(name), "configs/sysu.yaml", f"configs/ablation/{name}.yaml")
        for name in ("mdl1", "mdl4", "b2")
    ]
    found = labels(table_of("sysu", *folders))
    assert found[-4:] == ["Base-Derivative|ICPR 2020", "mdl4|ours, retrained", "mdl1|ours", "b2|ours"]
    found = labels(table_of("same-backbone", *folders))
    assert found[:2] == ["Baseline", "ours, retrained: b2"] and found[2] == "AGW"
    assert found[3:] == ["Base-Derivative", "ours, retrained: mdl4", "ours: mdl1"]


def test_runs_of_no_published_row_stand_last_in_their_order_below_a_line(tmp_path):
    """Whose name no table has, is of another table, isn't given, or isn't known; and what isn't trained."""
    folders = [
        keep(tmp_path / "no-configuration", sysu_rows("no-configuration")),
        trained(tmp_path / "nowhere", "A Method of Next Year"),
        trained(tmp_path / "of-regdb", "XIV"),
        trained(tmp_path / "hcml", "HCML"),
        trained(tmp_path / "start", "HCML", sysu_rows("start", epoch=0)),
        trained(tmp_path / "older", None),
        keep(tmp_path / "pixels", sysu_rows("pixels", extractor="pixels"), "configs/sysu.yaml"),
    ]
    table = table_of("sysu", *folders)
    found = labels(table)
    assert found[1:3] == ["HCML|AAAI 2018", "hcml|ours, retrained"]
    last = [f"{name}|ours" for name in ("no-configuration", "nowhere", "of-regdb", "start")]
    # of another name but the paper's method, whose ticks tell it
    assert found[-7:] == ["Base-Derivative|ICPR 2020", "older|ours, retrained", *last, "pixels (extractor=pixels)|ours"]
    assert table.rules == [len(found) - 5]


def test_a_broken_configuration_costs_a_run_its_place_and_nothing_else(tmp_path):
    folder = trained(tmp_path / "hcml", "HCML")
    (folder / "config.yaml").write_text("method: {type: 'nowhere.to:BeFound'}\n")
    assert labels(table_of("sysu", folder))[-1] == "hcml|ours"
    (note,) = [note for note in table_of("same-backbone", folder).notes if "left out" in note]
    assert note.startswith("hcml is left out: ") and "nowhere" in note


def test_seeds_and_data_sets_of_a_method_are_one_row(tmp_path):
    rows = [sysu_rows(f"agw-seed{seed}", 40.0 + seed, seed, recipe="1") for seed in (0, 1, 2)]
    folders = [trained(tmp_path / f"agw-seed{seed}", "AGW", own) for seed, own in enumerate(rows)]
    regdb = other_rows("regdb", "agw-regdb", "visible_to_infrared", 33.0)
    folders.append(trained(tmp_path / "agw-regdb", "AGW", regdb, config="configs/regdb.yaml"))
    table = table_of("same-backbone", *folders)
    assert labels(table) == ["Baseline", "AGW", "ours, retrained: agw, agw-regdb", "Base-Derivative"]
    _, shown, beside = line(table, "ours, retrained: agw, agw-regdb")
    assert shown[0] == "33.00" and shown[2] == "46.50" and beside[2] == "±1.00"


def test_another_backbone_is_not_in_the_table_of_the_same_backbone(tmp_path):
    small = trained(tmp_path / "agw", "AGW", None, "model.backbone=resnet10t", "model.stems=shared")
    assert labels(table_of("same-backbone", small)) == ["Baseline", "AGW", "Base-Derivative", "ours: agw (agw)"]


def test_marks_and_blocks_stay_with_a_run_below_its_published_row(tmp_path):
    facts = {"method": "msr", "method_source": "reconstruction"}
    folders = [
        trained(tmp_path / "msr", "MSR", sysu_rows("msr", 99.0 - 60, **facts)),
        trained(tmp_path / "small", "MSR", sysu_rows("small", 45.0, sizes={"all": 60, "indoor": 20}, **facts)),
        trained(tmp_path / "mac", "MAC", sysu_rows("mac", method_source="paper")),
    ]
    table = table_of("sysu", *folders)
    found = labels(table)
    place = found.index("MSR|TIP 2019")
    assert found[place + 1 : place + 3] == ["msr‡|ours, retrained", "small†‡|ours, retrained"]
    assert "mac|ours, retrained" in found and table.notes.count(NOTE) == 1
    assert [block == "published" for block in table.block] == [label != "small†‡|ours, retrained" for label in found]
    assert (table.marks().iloc[place + 2] == "").all(), "the only one of its test set"
    for form, (to_form, _) in FORMATS.items():
        text = to_form(table)
        mark = {"latex": r"small$\dagger$$\ddagger$", "html": "small&#8224;&#8225;"}.get(form, "small†‡")
        assert mark in text, form
        assert ("a reconstruction" in text) == (form != "csv"), "CSV has no place for notes"


def test_without_a_reconstruction_in_the_table_nothing_is_said_of_any(tmp_path):
    folders = [
        trained(tmp_path / "mac", "MAC", sysu_rows("mac", method_source="authors' code")),
        trained(tmp_path / "start", "MSR", sysu_rows("start", epoch=0, method_source="reconstruction")),
    ]
    assert NOTE not in table_of("same-backbone", *folders).notes, "what isn't trained is left out"
    assert NOTE in table_of("sysu", *folders).notes
    assert NOTE not in table_of("sysu", folders[0]).notes


def test_the_table_of_runs_marks_reconstructions_too(tmp_path):
    sources = {"a": "paper", "b": "reconstruction", "c": ""}
    folders = [keep(tmp_path / run, sysu_rows(run, method_source=source)) for run, source in sources.items()]
    means = summarize(read_results(folders)[0])
    table = table_of_runs(means)
    assert table.labels.iloc[:, 0].tolist() == ["a", "a", "b‡", "b‡", "c", "c"] and table.notes[-1] == NOTE
    text = format_summary(means).splitlines()
    assert [row.split()[0] for row in text[1:7]] == ["a", "a", "b‡", "b‡", "c", "c"] and text[-1] == NOTE
    assert "‡" not in format_summary(means[means["run"] != "b"])


@pytest.mark.parametrize("file", METHODS, ids=lambda file: file.stem)
def test_a_run_of_a_methods_file_is_matched_whatever_its_recipe(file, tmp_path):
    settings = load_config(["configs/demo.yaml", str(file), "configs/small.yaml"])
    folder = keep(tmp_path / file.stem, sysu_rows(file.stem))
    (folder / "config.yaml").write_text(to_yaml(settings))
    names, published = list(read_literature("sysu_mm01")["method"]), settings.method.published
    place = names.index(published) + 1 if published in names else len(names)
    found = labels(table_of("sysu", folder))
    assert found[place] == f"{file.stem}|{'ours, retrained' if published in names else 'ours'}"
    assert len(found) == len(names) + 1
