import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from pipeline import sweep, train
from pipeline.config import load_config
from pipeline.run.folder import open_run
from pipeline.sweep import progress, read_list
from tests.forked import fork
from tests.methods.games import SIZES, SMALLER

SWEEPS = Path("configs/sweeps")
ABLATION = ["b1", "b2", "mdl4"]  # which is the base-derivative method
METHODS = {file.stem for file in Path("configs/methods").glob("*.yaml")} - {"base_derivative"}
LISTED = [line.split() for line in (SWEEPS / "methods_demo.list").read_text().splitlines()[1:]]


@pytest.mark.parametrize(
    ("name", "members", "first", "last"),
    [
        ("ablation", 18, "sysu-b1", "sysu-mdl4-seed2"),
        ("ablation_demo", 18, "ablation-b1-seed1", "ablation-mdl4-seed3"),
        ("methods_demo", 96, "methods-b1", "methods-hicmd-seed2"),
        ("regdb", 10, "regdb-trial1", "regdb-trial10"),
        ("sysu", 5, "sysu", "sysu-seed4"),
    ],
)
def test_the_lists_that_come_with_the_project(name, members, first, last):
    found = read_list(SWEEPS / f"{name}.list", ["output=elsewhere"])
    assert [member.number for member in found] == list(range(1, members + 1))
    assert found[0].folder == Path("elsewhere") / first and found[-1].folder == Path("elsewhere") / last


def test_every_list_is_among_those():
    assert {file.stem for file in SWEEPS.iterdir()} == {"ablation", "ablation_demo", "methods_demo", "regdb", "sysu"}


def test_every_method_is_listed_with_the_small_recipe_and_three_seeds_a_whole_table_after_the_other():
    names = [Path(words[1]).stem for words in LISTED]
    tables = [names[start : start + len(names) // 3] for start in range(0, len(names), len(names) // 3)]
    assert tables[0] == tables[1] == tables[2] and len(set(tables[0])) == len(tables[0])
    assert tables[0][:3] == ABLATION and set(tables[0][3:]) == METHODS
    for number, (words, name) in enumerate(zip(LISTED, names, strict=True)):
        seed = number // len(tables[0])
        folder = "ablation" if name in ABLATION else "methods"
        files = ["configs/demo.yaml", f"configs/{folder}/{name}.yaml", "configs/small.yaml"]
        of_seed = [f"seed={seed}", f"name=methods-{name}-seed{seed}"] if seed else [f"name=methods-{name}"]
        assert words[:3] == files and words[-len(of_seed) :] == of_seed
        sizes = words[3 : -len(of_seed)]  # of games: how small their networks are, how long their stages; fewer stripes
        assert bool(sizes) == (name in SIZES or name in SMALLER) and sizes == LISTED[number % len(tables[0])][3:-1]


def test_lines_are_arguments_of_a_shell(tmp_path, capsys):
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


def test_a_failed_member_stops_no_other_and_the_same_command_resumes(people, tiny, tmp_path, capfd, monkeypatch):
    more = [*tiny, "train.epochs=1", "train.steps_per_epoch=2", f"output={tmp_path}"]
    runs = tmp_path / "three.list"
    lines = [f"configs/folder.yaml name={name} data.root={people}\n" for name in "abc"]
    runs.write_text(lines[0] + "configs/folder.yaml name=b data.root=missing\n" + lines[2])
    train.main(["configs/folder.yaml", *more, "name=a", f"data.root={people}"])
    written = (tmp_path / "a" / "results.csv").stat().st_mtime_ns
    with pytest.raises(SystemExit) as ended:
        sweep.main([str(runs), *more])
    assert ended.value.code == 2
    said = capfd.readouterr()
    assert f"1 of 3 members failed: {tmp_path / 'b'} (status 2)" in said.err and "missing" in said.err
    assert (tmp_path / "a" / "results.csv").stat().st_mtime_ns == written
    table = progress(read_list(runs, more))
    assert table["state"].tolist() == ["finished", "waiting", "finished"] and table["step"].tolist() == [2, 0, 2]
    assert all(0 <= float(table.loc[number, score]) <= 100 for number in (1, 3) for score in ("rank_1", "mAP"))
    sweep.main([str(runs), "--unfinished", *more])
    assert capfd.readouterr().out == "2\n"
    runs.write_text("".join(lines))
    monkeypatch.setattr(sweep, "train_member", lambda member, _: train.main([*member.arguments]) or 0)  # sooner
    monkeypatch.setenv("STOP_FILE", str(tmp_path))
    with pytest.raises(SystemExit):
        sweep.main([str(runs), *more])
    assert f"asked to stop in {tmp_path / 'b'}; the same command resumes" in capfd.readouterr().err
    monkeypatch.delenv("STOP_FILE")
    sweep.main([str(runs), *more])
    said = capfd.readouterr().out
    assert "resumed at step 1" in said
    assert re.search(r"^2 +b +finished +2 ", said, re.MULTILINE) and "visible_to_infrared" in said


MODES = pytest.mark.parametrize("mode", [[], ["--tables"], ["--unfinished"], ["--member", "2"]])


@pytest.fixture()
def smoke_tested(tmp_path, monkeypatch):
    """A list of two runs, the second of which is finished with fewer epochs; nothing may be trained."""
    runs = tmp_path / "two.list"
    runs.write_text("configs/demo.yaml seed=1\n# the other\nconfigs/demo.yaml seed=2\n")
    folder = open_run(load_config(["configs/demo.yaml", "seed=2", f"output={tmp_path}", "train.epochs=1"]))
    (folder / "model.safetensors").touch()
    monkeypatch.setattr(sweep, "train_member", lambda *arguments: pytest.fail("was trained"))
    return runs


@MODES
def test_a_finished_run_of_other_settings_is_never_taken_for_a_member(mode, smoke_tested, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        sweep.main([str(smoke_tested), *mode, f"output={tmp_path}", "train.epochs=7"])
    assert ended.value.code == 2
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    said = f"error: {smoke_tested}:3: {tmp_path}/demo-seed2: belongs to a run with train.epochs=1; found 7."
    assert line.startswith(said) and not printed.out
    assert ("(1 of 2 members differ; another output= serves them all)" in line) == (mode != ["--member", "2"])


def test_folders_in_which_nothing_was_trained_and_other_members_do_not_matter(smoke_tested, tmp_path, capsys):
    more = [f"output={tmp_path}", "train.epochs=7"]
    sweep.main([str(smoke_tested), "--member", "1", *more])
    (tmp_path / "demo-seed2" / "model.safetensors").unlink()
    sweep.main([str(smoke_tested), "--unfinished", *more])
    assert capsys.readouterr().out.splitlines()[-1] == "1,2"


LOGS = {
    "failed": "error: batch.ids_per_batch: expected at most 7; found 50 (PIPELINE_TRACEBACK=1 shows where)\nwarning\n",
    "crashed": "Traceback (most recent call last):\n  File ...\ntorch.OutOfMemoryError: CUDA out of memory\n",
    "stopped": "error: another start\nrun: asked to stop: checkpoint written after step 3\n",
    "killed": "10 identities, 20 visible\n",
}


def test_members_that_failed_as_slurm_jobs_are_told_from_those_that_wait(tmp_path, capsys):
    runs = tmp_path / "five.list"
    runs.write_text("".join(f"configs/demo.yaml name={name}\n" for name in (*LOGS, "waiting")))
    for name, text in LOGS.items():
        for job, content in (("11_1", "error: of an older job\n"), ("12_1", text)):
            logs = tmp_path / name / "slurm" / job
            logs.mkdir(parents=True)
            (logs / "rank-0.txt").write_text("")
            (logs / "rank-1.txt").write_text(content)
        os.utime(tmp_path / name / "slurm" / "11_1", (1, 1))
    members = read_list(runs, [f"output={tmp_path}"])
    assert progress(members)["state"].tolist() == ["failed", "failed", "stopped", "stopped", "waiting"]
    with pytest.raises(SystemExit):
        sweep.main([str(runs), "--tables", f"output={tmp_path}"])
    *told, error = capsys.readouterr().err.splitlines()
    seen = [f"{tmp_path / name}: not finished; see {tmp_path / name}/slurm/12_1/" for name in LOGS]
    assert [line.startswith(start) for line, start in zip(told, seen, strict=True)] == [True] * 4
    assert told[0].endswith(
        "rank-1.txt: error: batch.ids_per_batch: expected at most 7; found 50 (PIPELINE_TRACEBACK=1 shows where)"
    )
    assert told[1].endswith("rank-1.txt: torch.OutOfMemoryError: CUDA out of memory")
    assert told[2].endswith("12_1/rank-*.txt") and "5 of 5 members are not finished" in error


TRAINING = """#!/bin/sh
trap 'sleep 1; touch saved; exit {status}' INT
echo "$@" > begun
while :; do sleep 0.1; done
"""


def sweep_with(training, folder, *arguments):
    """`pipeline.sweep` in a folder, with another program in the place of Python."""
    os.chdir(folder)
    sys.executable = str(training)
    sweep.main([*arguments])


@pytest.mark.parametrize(
    ("status", "more", "launch"),
    [(0, [], ""), (130, ["--processes", "2"], "-m torch.distributed.run --standalone --nproc-per-node=2 ")],
)
def test_ctrl_c_waits_for_the_training_and_begins_no_other(status, more, launch, tmp_path):
    """The training is a stand-in that takes its time to save; Ctrl-C reaches both, twice."""
    training = tmp_path / "training"
    training.write_text(TRAINING.format(status=status))
    training.chmod(0o755)
    runs, output = tmp_path / "two.list", tmp_path / "output.txt"
    config = Path("configs/demo.yaml").resolve()
    runs.write_text(f"{config} name=a\n{config} name=b\n")
    begun = fork(sweep_with, training, tmp_path, str(runs), *more, f"output={tmp_path}", output=output)
    while not ((tmp_path / "begun").exists() and (tmp_path / "begun").read_text()):
        assert begun.is_alive()
        time.sleep(0.05)
    for _ in range(2):
        os.killpg(begun.pid, signal.SIGINT)
        time.sleep(0.2)
    begun.join(60)
    assert begun.exitcode == 130 and (tmp_path / "saved").exists()
    first, said = output.read_text().splitlines()
    arguments = f"{config} name=a output={tmp_path}"
    assert (tmp_path / "begun").read_text() == f"{launch}-m pipeline.train {arguments}\n"
    assert first == f"{runs}: 1 of 2: {arguments}"
    assert said == f"{runs}: interrupted in {tmp_path / 'a'}; the same command resumes"
