"""The command: which tables are written, and its errors."""

import pytest

from pipeline.evaluation.results import summarize
from pipeline.tables.__main__ import main
from pipeline.tables.read import read_results
from tests.tables.rows import keep, sysu_rows


def test_all_layouts_are_written_and_those_without_rows_named(tmp_path, capsys):
    folder = keep(tmp_path / "b2", sysu_rows("b2"), "configs/sysu.yaml", "configs/ablation/b2.yaml")
    main([str(folder), "--layout", "all", "--format", "markdown", "--out", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    names = ("runs", "sysu", "same-backbone", "ablation")
    assert {file.name for file in (tmp_path / "out").iterdir()} == {f"{name}.md" for name in names}
    assert "regdb is left out: expected rows of regdb" in printed and "llcm is left out" in printed
    assert all(str(tmp_path / "out" / f"{name}.md") in printed for name in names)


def test_the_plain_table_keeps_the_order_of_the_runs(tmp_path, capsys):
    folders = [keep(tmp_path / name, sysu_rows(name)) for name in ("z", "b")]
    main([str(folder) for folder in [*folders, folders[0]]])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["run", "z", "z", "b", "b", "±"]


def test_what_cannot_be_tabulated_is_one_line(tmp_path, capsys):
    folder = keep(tmp_path / "a", sysu_rows("a"))
    for name in ("empty", "failed", "failed2"):
        (tmp_path / name).mkdir()
    (tmp_path / "empty" / "results.csv").touch()
    for arguments, message in (
        ([folder, tmp_path / "none"], "none: expected the folder of a run; found none"),
        ([tmp_path / "failed"], "failed: no results.csv; `python -m pipeline.evaluate` makes one"),
        ([tmp_path / "failed", tmp_path / "failed2"], "makes one (2 folders have none)"),
        ([tmp_path / "empty"], "results.csv: is empty"),
        ([folder, "--layout", "ablations"], "all; found 'ablations'; the nearest is ablation"),
        (
            [folder, "--layout", "regdb"],
            "--layout regdb: expected rows of regdb visible_to_infrared; the runs have none",
        ),
        ([folder, "--compare", folder], f"--compare {folder}: nothing to compare: give another run as well"),
    ):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        error = capsys.readouterr().err
        assert ended.value.code == 2 and message in error and error.count("\n") == 1


def test_folders_without_results_are_left_out_with_a_remark(tmp_path, capsys):
    folder = keep(tmp_path / "b", sysu_rows("b"))
    (tmp_path / "a").mkdir()
    (tmp_path / "notes.txt").touch()
    main([str(path) for path in sorted(tmp_path.iterdir())])
    printed = capsys.readouterr()
    remarks = [f"left out: {tmp_path / name}: no results.csv;" for name in ("a", "notes.txt")]
    assert [line.partition(" `")[0] for line in printed.err.splitlines()] == remarks
    main([str(folder)])
    assert capsys.readouterr().out == printed.out
    with pytest.raises(SystemExit):
        main([str(folder), "--compare", str(tmp_path / "a")])
    assert f"--compare: {tmp_path / 'a'}: no results.csv" in capsys.readouterr().err


def test_two_runs_of_one_name_are_called_by_their_folders_and_never_mixed(tmp_path):
    first, copy = (keep(tmp_path / place / "a", sysu_rows("a", recipe="1")) for place in "xy")
    rows, places = read_results([first, copy, first])
    assert places == {str(first): first, str(copy): copy} and len(rows) == 40
    means = summarize(rows)
    assert means["run"].tolist() == [str(first)] * 2 + [str(copy)] * 2 and (means["trials"] == 10).all()


def test_versions_of_the_code_are_averaged_only_where_it_is_asked_for(tmp_path, capsys):
    folders = [
        str(
            keep(
                tmp_path / f"a-seed{seed}",
                sysu_rows(
                    f"a-seed{seed}", 40 + seed, seed, recipe="1", code_version=version, train_code_version=version
                ),
            )
        )
        for seed, version in enumerate(("0.1+a", "0.1+b"))
    ]
    main(folders)
    printed = capsys.readouterr().out
    for name in ("code_version", "train_code_version"):
        assert f"sysu: {name} differs: 0.1+a (a-seed0), 0.1+b (a-seed1)" in printed
    main([*folders, "--across-versions"])
    assert "over 2 seeds" in (printed := capsys.readouterr().out) and "46.00 ±0.71" in printed
