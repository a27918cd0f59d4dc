"""What takes a job away, and that the run ends with the weights it would have had."""

import os
import re
import signal
from pathlib import Path


def processes_of(job):
    """(command line, process) of what the cluster started for a job on any of its nodes."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if f"SLURM_JOB_ID={job}".encode() in environment:
            rank = next((value[5:].decode() for value in environment if value.startswith(b"RANK=")), None)
            found.append((command, rank, int(folder.name)))
    return found


def kill(job, wanted):
    found = [process for command, rank, process in processes_of(job) if wanted(command, rank)]
    assert found
    for process in found:
        os.kill(process, signal.SIGKILL)


def resumed_at(log):
    return int(re.findall(r"resumed at step (\d+)", log)[-1])


def is_rank_1(command, rank):
    return rank == "1" and "pipeline.train" in command


def is_launcher(command, rank):
    return command.startswith("srun ")  # it is two processes


def test_a_preempted_job_saves_and_resumes(cluster, arguments, output, reach, assert_undisturbed):
    folder = output / "preempted"
    job = cluster.submit("--nodes=2", "--partition=low", arguments=[*arguments, "name=preempted"])
    reach(folder, 3)
    cluster.run("sbatch", "--partition=high", "--nodes=3", "--exclusive", "--output=/dev/null", "--wrap=true")
    cluster.wait_for(lambda: cluster.field(job, "Restarts") == "1", 60, "a requeue")
    cluster.wait_for(lambda: "resumed at step" in (folder / "log.txt").read_text(), 90, "the second start")
    cluster.run("scancel", "--signal=TERM", job)  # to the processes of the ranks: clusters that send no other signal
    log = cluster.wait(job)
    assert cluster.field(job, "Restarts") == "2"
    for argument in (
        "time limit or pre-emption near: asking for a checkpoint",
        "asked to stop",
        "checkpoint written; requeueing",
    ):
        assert argument in log
    assert_undisturbed(folder)


def test_a_cancelled_job_does_not_come_back(cluster, arguments, output, reach):
    job = cluster.submit("--nodes=1", arguments=[*arguments, "name=cancelled", "train.epochs=50"])
    reach(output / "cancelled", 2)
    cluster.run("scancel", job)
    log = cluster.wait(job, "CANCELLED", seconds=30)
    assert "requeueing" not in log and not processes_of(job)
    assert "the job is COMPLETING already, and comes back only if it was requeued" in log


def test_killed_ranks_and_launchers_end_the_job_everywhere(cluster, arguments, output, reach, assert_undisturbed):
    folder = output / "killed"
    again = {"arguments": [*arguments, "name=killed"]}
    job = cluster.submit("--nodes=2", **again)
    reach(folder, 25)
    kill(job, is_rank_1)
    log = cluster.wait(job, "FAILED", seconds=60)
    assert "task 1: Killed" in log and "error: the training failed with status" in log and not processes_of(job)
    job = cluster.submit("--nodes=2", **again)
    reach(folder, 45)
    kill(job, is_launcher)
    first = resumed_at(cluster.wait(job, "FAILED", seconds=60))
    cluster.wait_for(lambda: not processes_of(job), 30, "all ranks ending")
    log = cluster.wait(cluster.submit("--nodes=2", **again))
    assert 20 <= first < resumed_at(log) < 100
    assert_undisturbed(folder)


def test_a_lost_node_is_replaced_by_another(cluster, arguments, output, reach, assert_undisturbed):
    folder = output / "lost"
    job = cluster.submit("--nodes=2", arguments=[*arguments, "name=lost"])
    reach(folder, 25)
    assert cluster.field(job, "NodeList") == "n[1-2]"
    assert cluster.manage("fail-node", cluster.folder, "n2").returncode == 0
    cluster.wait_for(lambda: cluster.field(job, "NodeList") == "n[1,3]", 90, "a start on other nodes")
    assert cluster.manage("start-node", cluster.folder, "n2").returncode == 0
    log = cluster.wait(job)
    assert "restart 1: 2 ranks on n[1,3]" in log and 20 <= resumed_at(log) < 100
    assert_undisturbed(folder)
