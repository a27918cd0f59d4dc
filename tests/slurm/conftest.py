"""A real Slurm cluster of three nodes on this machine, and what the tests ask of it."""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent
NOT_INSTALLED = 77
STEPS = 100


def wait_for(condition, seconds, what):
    """The first true value of `condition`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.05)
    return value


class Cluster:
    project = PROJECT
    wait_for = staticmethod(wait_for)

    def __init__(self, folder, home):
        self.folder, self.home = folder, home
        foreign = ("SLURM", "SBATCH", "SRUN", "SQUEUE", "SINFO", "SCANCEL", "SALLOC")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        venv = {"VENV": sys.prefix} if sys.prefix != sys.base_prefix else {}
        chosen = {"SLURM_CONF": f"{folder}/etc/slurm.conf", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        self.environment = kept | venv | chosen

    def manage(self, *arguments):
        return subprocess.run([HERE / "local_slurm.sh", *arguments], capture_output=True, text=True, timeout=120)

    def run(self, *command, check=True):
        """A command that talks to the cluster, run outside the project's folder."""
        environment, home = self.environment, self.home
        done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, timeout=120)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def submit(self, *options, arguments):
        """A training of one rank on each node; returns the job's number."""
        command = ["sbatch", "--parsable", "--ntasks-per-node=1", "--cpus-per-task=1", *options]
        return self.run(*command, PROJECT / "slurm" / "train.sh", *arguments).stdout.strip()

    def field(self, job, name):
        shown = self.run("scontrol", "show", "job", "-o", job).stdout
        return re.search(rf"\b{name}=(\S*)", shown)[1]

    def wait(self, job, state="COMPLETED", seconds=120):
        """Waits for the job's end. Returns its log."""
        over = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED")
        ended = wait_for(lambda: (now := self.field(job, "JobState")) in over and now, seconds, f"the end of {job}")
        wait_for(lambda: self.run("squeue", "-h", "-j", job, check=False).stdout == "", 30, f"{job} being cleared")
        log = self.log(job)
        assert ended == state, log
        return log

    def log(self, job):
        return Path(self.field(job, "StdOut")).read_text()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as folder:  # pytest's paths are too long for sockets
        cluster = Cluster(folder, tmp_path_factory.mktemp("home"))
        started = cluster.manage("start", folder)
        if started.returncode == NOT_INSTALLED:
            pytest.skip(f"needs Slurm: {started.stderr.strip()}")
        assert started.returncode == 0, started.stderr
        yield cluster
        cluster.manage("stop", folder)


@pytest.fixture(scope="session")
def arguments(people, tiny, tmp_path_factory):
    """Of a training of some seconds; its last is output=."""
    course = ["train.epochs=1", f"train.steps_per_epoch={STEPS}", "train.checkpoint_steps=20", "train.norm=frozen"]
    course += ["model.backbone=resnet10t", "optimizer.lr=0.001"]  # whose steps last long enough to fall between two
    output = tmp_path_factory.mktemp("runs")
    return ["configs/folder.yaml", *tiny, *course, f"data.root={people}", f"output={output}"]


@pytest.fixture(scope="session")
def output(arguments):
    return Path(arguments[-1].partition("=")[2])


@pytest.fixture(scope="session")
def undisturbed(cluster, arguments, output):
    """The run folder and the log of a job that two ranks on two nodes trained without a fault."""
    job = cluster.submit("--nodes=2", arguments=[*arguments, "name=undisturbed"])
    return output / "undisturbed", cluster.wait(job)


@pytest.fixture()
def logged_step():
    def read(folder):
        metrics = folder / "metrics.csv"
        rows = pd.read_csv(metrics, on_bad_lines="skip") if metrics.exists() and metrics.stat().st_size else []
        return int(rows["step"].iloc[-1]) if len(rows) else 0

    return read


@pytest.fixture()
def reach(logged_step):
    """Waits for a run to have logged a step."""
    return lambda folder, step: wait_for(lambda: logged_step(folder) >= step, 120, f"step {step} of {folder}")


@pytest.fixture()
def assert_undisturbed(undisturbed):
    """Holds for a run that ended with the weights of the undisturbed one, bit for bit, and logged each step once."""

    def check(folder):
        one, other = (load_file(path / "model.safetensors") for path in (undisturbed[0], folder))
        assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
        assert pd.read_csv(folder / "metrics.csv")["step"].tolist() == list(range(1, STEPS + 1))

    return check
