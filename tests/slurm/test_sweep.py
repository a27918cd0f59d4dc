"""A list of runs as a job array, and the job that makes its tables."""

import re

from pipeline import train


def test_a_sweep_leaves_out_what_is_finished_and_tables_what_it_can(cluster, words, tmp_path, monkeypatch):
    more = [*words[1:-1], "train.steps_per_epoch=3", "train.checkpoint_steps=1", f"output={tmp_path}"]
    train.main([words[0], *more, "name=first"])
    with monkeypatch.context() as patch:
        patch.setenv("STOP_FILE", str(tmp_path))
        train.main([words[0], *more, "name=second"])
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
    assert states == [["1", "first", "finished"], ["2", "second", "finished"], ["3", "third", "waiting"]]
    assert re.search(r"^ *second +visible_to_infrared", log, re.MULTILINE)
    assert "resumed at step 1" in cluster.log(f"{array}_2")
    assert "missing.pth" in cluster.log(f"{array}_3") and cluster.field(f"{array}_3", "JobState") == "FAILED"
