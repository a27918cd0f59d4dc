"""Jobs that go well, and jobs that must not begin."""

import shlex
import sys

import pandas as pd

from pipeline import train


def test_two_nodes_train_and_evaluate_what_one_process_does(undisturbed, arguments, output):
    folder, log = undisturbed
    assert "2 ranks on n[1-2]" in log and "0: " + f"{folder}: finished" in log
    assert "on 2 x cpu" in (folder / "log.txt").read_text()
    (logs,) = (folder / "slurm").iterdir()
    assert {path.name for path in logs.iterdir()} == {"rank-0.txt", "rank-1.txt"}
    assert f"{folder}: finished" in (logs / "rank-0.txt").read_text()
    assert len(list((folder / "checkpoints").glob("step-*/random_states_1.pkl"))) == 2

    train.main([*arguments, "name=one"])
    one, two = (pd.read_csv(output / name / "metrics.csv") for name in ("one", "undisturbed"))
    parts = [name for name in one if name.startswith(("loss", "identity", "intra", "cross"))]
    assert one["step"].tolist() == two["step"].tolist() and len(parts) > 4
    # later, differences of the last bit have grown
    pd.testing.assert_frame_equal(one[parts].head(50), two[parts].head(50), rtol=1e-5, atol=1e-6)
    pd.testing.assert_frame_equal(one[parts], two[parts], rtol=1e-3)
    one, two = (pd.read_csv(output / name / "results.csv") for name in ("one", "undisturbed"))
    apart = ["run", "evaluation", "ranks"]  # of which run, and of which of its evaluations
    one, two = (rows.drop(columns=apart, errors="ignore") for rows in (one, two))
    pd.testing.assert_frame_equal(one, two, rtol=1e-3)


HOLD = """
import sys, time
from pathlib import Path
from pipeline.run.lock import RunLock

lock = RunLock(Path(sys.argv[1]))
lock.acquire()
time.sleep(300)
"""


def test_a_second_job_in_a_run_folder_is_an_error_while_the_first_lives(cluster, arguments, output, tmp_path):
    script = tmp_path / "hold.sh"
    hold = shlex.join(["env", f"PYTHONPATH={cluster.project}", sys.executable, "-c", HOLD, str(output / "held")])
    script.write_text(f"#!/bin/bash\nexec {hold}\n")
    holder = cluster.run("sbatch", "--parsable", script).stdout.strip()
    second = cluster.submit("--nodes=1", arguments=[*arguments, "name=held"])
    log = cluster.wait(second, "FAILED")
    assert f"held: is being trained by Slurm's job {holder}, process" in log
    assert log.count("is being trained") == 1 and "Traceback" not in log
    cluster.run("scancel", "--signal=KILL", "--full", holder)
    short = [*arguments, "name=held", "train.steps_per_epoch=1"]
    assert "held: finished" in cluster.wait(cluster.submit("--nodes=1", arguments=short))


def test_tasks_that_do_not_know_each_other_are_errors(cluster, arguments, output):
    train_all = [sys.executable, "-m", "pipeline.train", *arguments, "name=apart"]
    ended = cluster.run("srun", "--ntasks=2", f"--chdir={cluster.project}", *train_all, check=False)
    assert ended.returncode != 0 and "srun started 2 tasks that know nothing of each other" in ended.stderr
    assert not (output / "apart").exists()


def test_arguments_that_are_no_configuration_end_the_job_before_a_rank_starts(cluster, arguments):
    log = cluster.wait(cluster.submit("--nodes=2", arguments=[*arguments, "train.epoks=3"]), "FAILED")
    assert "unknown key train.epoks; the nearest is train.epochs" in log and log.count("\n") == 1
