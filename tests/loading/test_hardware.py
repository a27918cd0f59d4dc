import os

import joblib
import pytest
import torch

from pipeline.loading.hardware import dali_pipelines, usable_cores
from pipeline.settings import LoaderSettings

CPU, GPU = torch.device("cpu"), torch.device("cuda", 1)


@pytest.fixture()
def cores(monkeypatch):
    """Sixteen cores that this process may use."""
    for name in ("SLURM_CPUS_PER_TASK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pipeline.loading.hardware.cpu_count", lambda: 16)
    return monkeypatch


def test_cores_are_those_of_the_process(monkeypatch):
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert usable_cores() == joblib.cpu_count() <= len(os.sched_getaffinity(0))
    first = min(os.sched_getaffinity(0))
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {first})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_ranks_of_a_node_share_its_cores(cores):
    cores.setenv("LOCAL_WORLD_SIZE", "4")
    assert usable_cores() == 4
    cores.setenv("LOCAL_WORLD_SIZE", "40")
    assert usable_cores() == 1


def test_slurm_says_what_each_task_has(cores):
    cores.setenv("LOCAL_WORLD_SIZE", "4")
    cores.setenv("SLURM_CPUS_PER_TASK", "3")
    assert usable_cores() == 3
    cores.setenv("SLURM_CPUS_PER_TASK", "64")  # bound to fewer than it was given
    assert usable_cores() == 16


ON_CPU = {"device": "cpu", "device_id": None, "decode": "cpu", "prefetch": 3}
ON_GPU = {"device": "gpu", "device_id": 1, "prefetch": 3}


@pytest.mark.parametrize(
    ("loader", "device", "pipelines", "place"),
    [
        ({}, CPU, 8, ON_CPU | {"threads": 2}),
        ({"threads": 1}, CPU, 1, ON_CPU | {"threads": 1}),
        ({"threads": 2}, CPU, 2, ON_CPU | {"threads": 1}),
        ({"threads": 8}, CPU, 8, ON_CPU | {"threads": 1}),
        ({"threads": 9}, CPU, 4, ON_CPU | {"threads": 2}),
        ({"threads": 20}, CPU, 6, ON_CPU | {"threads": 3}),
        ({}, GPU, 1, ON_GPU | {"decode": "cpu", "threads": 16}),
        ({"threads": 1}, GPU, 1, ON_GPU | {"decode": "cpu", "threads": 1}),
        ({"decode": "cpu", "prefetch": 5}, GPU, 1, ON_GPU | {"decode": "cpu", "threads": 16, "prefetch": 5}),
        ({"decode": "mixed"}, GPU, 1, ON_GPU | {"decode": "mixed", "threads": 16}),
        ({"device": "cpu", "threads": 5}, GPU, 5, ON_CPU | {"threads": 1}),
    ],
)
def test_pipelines_follow_the_cores_and_the_place(cores, loader, device, pipelines, place):
    assert dali_pipelines(LoaderSettings(**loader), device) == (pipelines, place)


@pytest.mark.parametrize(("loader", "device"), [({}, CPU), ({"device": "cpu"}, GPU)])
def test_decoding_on_a_gpu_needs_a_loader_on_the_gpu(loader, device):
    with pytest.raises(ValueError, match="loader.decode: mixed decodes on a GPU, and this loader runs on the CPU"):
        dali_pipelines(LoaderSettings(decode="mixed", **loader), device)
