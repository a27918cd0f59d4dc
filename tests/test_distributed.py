import importlib.util
from types import SimpleNamespace

import pytest
import torch

from pipeline.config import load_config
from pipeline.distributed import create_accelerator


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
