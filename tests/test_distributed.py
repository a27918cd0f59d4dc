import importlib.util
from types import SimpleNamespace

import pytest
import torch

from pipeline.config import load_config
from pipeline.distributed import create_accelerator, gather_rows, mean_over_ranks


def test_one_process_gathers_itself():
    rows = torch.randn(3, 2, requires_grad=True)
    assert gather_rows(rows) is rows
    assert mean_over_ranks(rows) is rows


def test_a_world_of_another_size_than_the_launchers_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("pipeline.distributed.Accelerator", lambda **options: SimpleNamespace(num_processes=1))
    with pytest.raises(ValueError, match="announced 2 processes; found 1"):
        create_accelerator(load_config([]), str(tmp_path))


def test_synchronised_statistics_without_a_gpu_are_refused(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ValueError, match=r"train\.norm: synchronised statistics need GPUs"):
        create_accelerator(load_config(["train.norm=synchronised"]), str(tmp_path))


def test_a_tracker_that_is_not_installed_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="train.trackers: wandb is not installed; `pip install wandb`"):
        create_accelerator(load_config(["train.trackers=[wandb]"]), str(tmp_path))
