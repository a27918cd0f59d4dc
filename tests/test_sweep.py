import re
from pathlib import Path

import pytest

from pipeline import sweep, train
from pipeline.sweep import progress, read_list

SWEEPS = Path("configs/sweeps")


@pytest.mark.parametrize(
    ("name", "members", "first", "last"),
    [
        ("ablation", 18, "sysu-b1", "sysu-mdl4-seed2"),
        ("ablation_demo", 18, "ablation-b1-seed1", "ablation-mdl4-seed3"),
        ("regdb", 10, "regdb-trial1", "regdb-trial10"),
        ("sysu", 5, "sysu", "sysu-seed4"),
    ],
)
def test_the_lists_that_come_with_the_project(name, members, first, last):
    found = read_list(SWEEPS / f"{name}.list", ["output=elsewhere"])
    assert [member.number for member in found] == list(range(1, members + 1))
    assert found[0].folder == Path("elsewhere") / first and found[-1].folder == Path("elsewhere") / last


def test_every_list_is_among_those():
    assert {file.stem for file in SWEEPS.iterdir()} == {"ablation", "ablation_demo", "regdb", "sysu"}


def test_lines_are_words_of_a_shell(tmp_path, capsys):
    runs = tmp_path / "a.list"
    runs.write_text("# all of it\n\nconfigs/demo.yaml 'name=a b' # why\n   configs/demo.yaml seed=2\n")
    sweep.main([str(runs), "--member", "1", "train.epochs=1"])
    assert capsys.readouterr().out == "configs/demo.yaml\nname=a b\ntrain.epochs=1\n"
    assert [(member.number, member.line) for member in read_list(runs, [])] == [(1, 3), (2, 4)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "configs/demo.yaml\n\nconfigs/demo.yaml optimizer.lr=1\n",
            r"a\.list: lines 1 and 3 both name the run runs/demo",
        ),
        ("configs/demo.yaml\nconfigs/demo.yaml sead=1\n", r"a\.list:2: sead=1: unknown key sead; the nearest is seed"),
        ("configs/none.yaml\n", r"a\.list:1: configs/none\.yaml: no such configuration file"),
        ("configs/demo.yaml 'seed=1\n", r"a\.list:1: No closing quotation"),
        ("# nothing\n", r"a\.list: expected a line for each run; found none"),
        (None, r"a\.list: no such list of runs"),
    ],
)
def test_a_list_that_is_wrong_is_refused_in_a_line(tmp_path, capsys, text, message):
    if text is not None:
        (tmp_path / "a.list").write_text(text)
    with pytest.raises(SystemExit) as ended:
        sweep.main([str(tmp_path / "a.list"), "--unfinished"])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line)


def test_a_member_that_is_not_there_is_refused(capsys):
    with pytest.raises(SystemExit):
        sweep.main([str(SWEEPS / "regdb.list"), "--member", "11"])
    assert "--member: expected 1 to 10" in capsys.readouterr().err


def test_a_failed_member_keeps_nobody_back_and_the_same_command_goes_on(people, tiny, tmp_path, capfd, monkeypatch):
    more = [*tiny, "train.epochs=1", "train.steps_per_epoch=2", f"output={tmp_path}"]
    runs = tmp_path / "three.list"
    lines = [f"configs/folder.yaml name={name} data.root={people}\n" for name in "abc"]
    runs.write_text(lines[0] + "configs/folder.yaml name=b data.root=missing\n" + lines[2])
    train.main(["configs/folder.yaml", *more, "name=a", f"data.root={people}"])
    written = (tmp_path / "a" / "results.csv").stat().st_mtime_ns
    with pytest.raises(SystemExit) as ended:
        sweep.main([str(runs), "--processes", "2", *more])
    assert ended.value.code == 2
    said = capfd.readouterr()
    assert f"1 of 3 members failed: {tmp_path / 'b'} (status 1)" in said.err and "missing" in said.err
    assert "on 2 x cpu" in (tmp_path / "c" / "log.txt").read_text()
    assert (tmp_path / "a" / "results.csv").stat().st_mtime_ns == written
    table = progress(read_list(runs, more))
    assert table["state"].tolist() == ["finished", "waiting", "finished"] and table["step"].tolist() == [2, 0, 2]
    assert all(0 <= float(table.loc[number, score]) <= 100 for number in (1, 3) for score in ("rank_1", "mAP"))
    sweep.main([str(runs), "--unfinished", *more])
    assert capfd.readouterr().out == "2\n"
    runs.write_text("".join(lines))
    monkeypatch.setenv("STOP_FILE", str(tmp_path))
    with pytest.raises(SystemExit):
        sweep.main([str(runs), *more])
    assert f"asked to stop in {tmp_path / 'b'}; the same command goes on" in capfd.readouterr().err
    monkeypatch.delenv("STOP_FILE")
    sweep.main([str(runs), *more])
    said = capfd.readouterr().out
    assert "resumed at step 1" in said
    assert re.search(r"^2 +b +finished +2 ", said, re.MULTILINE) and "visible_to_infrared" in said
