import importlib.util
from types import SimpleNamespace

import pytest
import torch

from pipeline.config import load_config
from pipeline.distributed import create_accelerator, warn_of_unused_gpu


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


@pytest.mark.parametrize(
    ("ranks", "words", "message"),
    [
        (9, [], "expected at least 9, 1 for each of the 9 processes .loss.mining=global.; found 8"),
        (5, ["loss.mining=local"], "expected at least 10, 2 for each of the 5 processes .loss.mining=local.; found 8"),
    ],
)
def test_a_batch_with_too_few_identities_for_the_processes_is_refused(monkeypatch, tmp_path, ranks, words, message):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr("pipeline.distributed.Accelerator", lambda **options: SimpleNamespace(num_processes=ranks))
    with pytest.raises(ValueError, match=message):
        create_accelerator(load_config(words), str(tmp_path))


def test_a_gpu_that_pytorch_cannot_use_is_not_passed_over_in_silence(monkeypatch, tmp_path, caplog):
    driver = tmp_path / "version"
    monkeypatch.setattr("pipeline.distributed.DRIVER", driver)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("pipeline.distributed.log.propagate", True)
    warn_of_unused_gpu()
    assert caplog.text == ""
    driver.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.1\nGCC version: 12\n")
    warn_of_unused_gpu()
    assert "470.1), but PyTorch for CUDA" in caplog.text and "all runs on the CPU" in caplog.text
    caplog.clear()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    warn_of_unused_gpu()
    assert caplog.text == ""
