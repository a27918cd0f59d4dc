"""A list of runs as a job array, and the job that makes its tables."""

import re

from pipeline import train


def test_a_sweep_leaves_out_what_is_finished_and_tables_what_it_can(cluster, arguments, tmp_path, monkeypatch):
    more = [*arguments[1:-1], "train.steps_per_epoch=3", "train.checkpoint_steps=1", f"output={tmp_path}"]
    train.main([arguments[0], *more, "name=first"])
    with monkeypatch.context() as patch:
        patch.setenv("STOP_FILE", str(tmp_path))
        train.main([arguments[0], *more, "name=second"])
    runs = tmp_path / "three.list"
    runs.write_text(
        "# one finished, one begun, one that can't be trained\nconfigs/folder.yaml name=first\n\n"
        "configs/folder.yaml name=second\nconfigs/folder.yaml name=third model.weights=missing.pth\n"
    )
    submitted = cluster.run(cluster.project / "slurm" / "sweep.sh", "--cpus-per-task=1", runs, *more).stdout
    said = r"array (\d+): members 2,3 of .*three\.list; then tables by job (\d+)\n"
    array, tables = re.fullmatch(said, submitted).groups()
    log = cluster.wait(tables, "FAILED")
    assert f"1 of 3 members are not finished: {tmp_path / 'third'} (" in log
    states = [line.split()[:3] for line in log.splitlines() if re.match(r"\d ", line)]
    assert states == [["1", "first", "finished"], ["2", "second", "finished"], ["3", "third", "failed"]]
    logs = tmp_path / "third" / "slurm" / f"{array}_3"
    assert f"{tmp_path / 'third'}: not finished; see {logs}/rank-0.txt: error: model.weights: no such file" in log
    assert re.search(r"^ *second +visible_to_infrared", log, re.MULTILINE)
    assert "resumed at step 1" in cluster.log(f"{array}_2")
    assert "missing.pth" in cluster.log(f"{array}_3") and cluster.field(f"{array}_3", "JobState") == "FAILED"

    other = cluster.run(cluster.project / "slurm" / "sweep.sh", runs, *more, "augment.height=48", check=False)
    assert other.returncode == 2 and not other.stdout
    assert f"{runs}:2: {tmp_path / 'first'}: belongs to a run with augment.height=32; found 48" in other.stderr
    assert "(2 of 3 members differ; another output= serves them all)" in other.stderr


def test_what_is_no_list_is_told_how_options_are_written(cluster):
    ended = cluster.run(cluster.project / "slurm" / "sweep.sh", "--time", "10", "mine.list", check=False)
    assert ended.returncode == 2 and not ended.stdout
    said = "error: 10: no such list of runs; sbatch's options stand before it as --name=value, found --time\n"
    assert ended.stderr == said
    assert "--name=value" in cluster.run(cluster.project / "slurm" / "sweep.sh", "--help").stdout
