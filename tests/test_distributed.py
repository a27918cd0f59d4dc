import importlib.util
from types import SimpleNamespace

import pytest
import torch

from pipeline.config import load_config
from pipeline.distributed import (
    check_gpu_count,
    check_shares,
    create_accelerator,
    create_training_accelerator,
    norm_problems,
    warn_of_unused_gpu,
)


def test_a_world_of_another_size_than_the_launchers_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("pipeline.distributed.Accelerator", lambda **options: SimpleNamespace(num_processes=1))
    with pytest.raises(ValueError, match="announced 2 processes; found 1"):
        create_accelerator(load_config([]), str(tmp_path))


def test_a_tracker_that_is_not_installed_is_refused_for_a_training_only(monkeypatch, tmp_path):
    settings = load_config(["train.trackers=[wandb]"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="train.trackers: wandb is not installed; `pip install wandb`"):
        create_training_accelerator(settings, str(tmp_path))
    monkeypatch.undo()
    assert create_accelerator(settings, str(tmp_path)).trackers == []


@pytest.mark.parametrize(
    ("ranks", "arguments", "message"),
    [
        (9, [], "expected at least 9, 1 for each of the 9 processes; found 8"),
        (
            5,
            ["method.mining=local"],
            r"expected at least 10, 2 for each of the 5 processes \(method.mining=local\); found 8",
        ),
        (5, ["train.norm=local"], r"expected at least 10, 2 for each of the 5 processes \(train.norm=local\); found 8"),
    ],
)
def test_a_batch_with_too_few_identities_for_the_processes_is_refused_for_a_training(ranks, arguments, message):
    with pytest.raises(ValueError, match=message):
        check_shares(load_config(arguments), ranks)


@pytest.mark.parametrize(("ranks", "said"), [(1, False), (2, False), (3, True), (4, True)])
def test_statistics_of_few_identities_are_warned_of(ranks, said):
    problems = norm_problems(load_config(["train.norm=local"]), ranks)
    assert len(problems) == said
    assert all("train.norm=local: statistics of 2 identities on a rank" in problem for problem in problems)
    assert norm_problems(load_config([]), ranks) == []


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ACCELERATE_USE_DEEPSPEED", "true", "ACCELERATE_USE_DEEPSPEED: DeepSpeed is not supported"),
        ("ACCELERATE_USE_FSDP", "true", "ACCELERATE_USE_FSDP: FSDP is not supported"),
        ("ACCELERATE_USE_MEGATRON_LM", "1", "ACCELERATE_USE_MEGATRON_LM: Megatron-LM is not supported"),
        ("ACCELERATE_USE_PARALLELISM_CONFIG", "true", "ACCELERATE_USE_PARALLELISM_CONFIG: another parallelism"),
        ("ACCELERATE_MIXED_PRECISION", "fp8", "ACCELERATE_MIXED_PRECISION: expected no, bf16 or fp16; found fp8"),
    ],
)
def test_what_a_configuration_of_accelerate_may_not_change_is_refused_by_name(
    monkeypatch, tmp_path, name, value, message
):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        create_accelerator(load_config([]), str(tmp_path))
    monkeypatch.setenv(name, "false" if "USE" in name else "no")
    create_accelerator(load_config([]), str(tmp_path))


def test_what_a_configuration_of_accelerate_says_of_dynamo_and_accumulation_has_no_effect(monkeypatch, tmp_path):
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "INDUCTOR")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    accelerator = create_accelerator(load_config([]), str(tmp_path))
    assert accelerator.gradient_accumulation_steps == 1
    network = accelerator.prepare(torch.nn.Linear(2, 2))
    assert [*accelerator.unwrap_model(network).state_dict()] == ["weight", "bias"]
    accelerator.backward(network(torch.ones(1, 2, device=accelerator.device)).sum())
    assert network.bias.grad.tolist() == [1, 1]


def test_a_process_without_a_gpu_of_its_own_is_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    check_gpu_count()
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match="LOCAL_RANK: process 2 of this node sees 2 GPUs"):
        check_gpu_count()


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
