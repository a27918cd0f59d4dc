"""What a rank is told, without a cluster."""

import os
import subprocess
from pathlib import Path

import pytest

RANK = Path(__file__).parents[2] / "slurm" / "rank.sh"
OF_SLURM = {"SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_NTASKS": "8", "SLURM_NNODES": "1", "SLURM_NODEID": "0"}


@pytest.mark.parametrize(
    ("more", "local_rank"),
    [
        ({}, "1"),
        ({"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, "1"),  # --gpus-per-node: each task sees all
        ({"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_GPUS_PER_TASK": "2"}, "1"),
        ({"CUDA_VISIBLE_DEVICES": "3", "SLURM_GPUS_PER_TASK": "1"}, "0"),  # its own, which is the first it sees
        ({"CUDA_VISIBLE_DEVICES": "GPU-5ebe9f43", "SLURM_GPUS_PER_TASK": "1"}, "0"),
        ({"CUDA_VISIBLE_DEVICES": "0"}, "1"),  # one GPU for two tasks: an error of training
    ],
)
def test_a_rank_is_told_which_of_the_gpus_it_sees_is_its_own(more, local_rank):
    shown = {"CONTAINER": "printenv RANK LOCAL_RANK"}  # which takes the place of python's command
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "CUDA_"))}
    ended = subprocess.run(
        ["bash", str(RANK)], env=environment | OF_SLURM | shown | more, capture_output=True, text=True
    )
    assert ended.stdout.split() == ["5", local_rank], ended.stderr
