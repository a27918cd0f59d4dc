"""What keeps the tests that promise equal bits off the GPU; of use only where there is one."""

import os

import torch

from pipeline.config import load_config
from pipeline.distributed import create_accelerator


def test_a_hidden_gpu_is_seen_neither_here_nor_in_processes_started_here(hidden_gpus, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # as where this process has found one before
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with hidden_gpus():
        assert create_accelerator(load_config([]), str(tmp_path)).device == torch.device("cpu")
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "" and torch.cuda.device_count() == 0
    assert torch.cuda.is_available() and os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
