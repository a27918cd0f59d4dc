"""Processes that train together: by the real launchers, or forked."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.forked import fork

PROJECT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(PROJECT)}
LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--num_machines", "1"]
LAUNCH += ["--mixed_precision", "no", "--dynamo_backend", "no"]
TWO_RANKS = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


def run(command):
    """The end of a process that starts ranks, with what it said."""
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)


def fork_ranks(ranks, folder, function, *arguments):
    """Calls `function` on forked ranks, which find each other as those of torchrun do; all must end well.

    Returns what all said. `folder` keeps it, by rank.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    of_all = place | {"WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks)}
    outputs = [folder / f"of{ranks}-rank{rank}.txt" for rank in range(ranks)]
    environments = [of_all | {"RANK": str(rank), "LOCAL_RANK": str(rank)} if ranks > 1 else {} for rank in range(ranks)]
    processes = [
        fork(function, *arguments, output=output, environment=environment)
        for output, environment in zip(outputs, environments, strict=True)
    ]
    for process in processes:
        process.join(300)
    said = "".join(output.read_text() for output in outputs)
    assert [process.exitcode for process in processes] == [0] * ranks, said
    return said
