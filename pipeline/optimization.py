"""The optimizer, and its learning rate as a stateless function of the step."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch

from pipeline.settings import OptimizerSettings

WARMUP_START = 0.1  # share of the learning rate at step 0, as in AGW's public recipe


def create_optimizer(groups: list[dict[str, Any]], settings: OptimizerSettings) -> torch.optim.Optimizer:
    """Returns the optimizer of parameter groups that have a "params" and a "lr" each. Fused: in one kernel.

    The rate that a group begins with stays in its "initial_lr"; any other key of a group, such as its "weight_decay",
    overrides the settings.
    """
    groups = [{**group, "initial_lr": group["lr"]} for group in groups]
    if settings.name == "adamw":
        return torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=True)
    nesterov = settings.momentum > 0
    optimizer = torch.optim.SGD(
        groups,
        lr=settings.lr,
        momentum=settings.momentum,
        nesterov=nesterov,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    if settings.momentum > 0:
        fill_momentum(optimizer)
    return optimizer


def fill_momentum(optimizer: torch.optim.SGD) -> None:
    """Starts the momentum with zeros, which changes no step.

    Fused SGD allocates it uninitialized and fills it at its first step. Where fp16's scaler skips that step, whatever
    was in the memory would be the momentum of the second (torch 2.14).
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def learning_rate_factor(epoch: float, epochs: float, settings: OptimizerSettings) -> float:
    """Returns the factor of the initial learning rate after `epoch` (with its fraction) epochs of `epochs`."""
    if epoch < settings.warmup_epochs:
        return WARMUP_START + (1 - WARMUP_START) * epoch / settings.warmup_epochs
    if settings.schedule == "step":
        return settings.lr_decay ** sum(epoch >= milestone for milestone in settings.milestones)
    progress = (epoch - settings.warmup_epochs) / max(epochs - settings.warmup_epochs, 1e-9)
    return settings.lr_decay + (1 - settings.lr_decay) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def depends_on_length(settings: OptimizerSettings) -> bool:
    """Whether the learning rate at a step depends on `train.epochs`."""
    return settings.schedule != "step"


def schedule_problems(epochs: float, settings: OptimizerSettings) -> list[str]:
    """Returns what of the schedule a training of `epochs` never reaches, a sentence each."""
    problems = []
    if settings.warmup_epochs >= epochs:
        highest = learning_rate_factor(epochs, epochs, replace(settings, schedule="step", milestones=[]))
        problems.append(
            f"optimizer.warmup_epochs: the warm-up of {settings.warmup_epochs:g} epochs is not over after train.epochs="
            f"{epochs:g}; the learning rate gets to {highest:.2f} of optimizer.lr"
        )
    unreached = [milestone for milestone in settings.milestones if milestone >= epochs]
    if settings.schedule == "step" and unreached:
        problems.append(
            f"optimizer.milestones: {', '.join(f'{milestone:g}' for milestone in unreached)} of "
            f"{settings.milestones} are not reached in train.epochs={epochs:g}"
        )
    return problems


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Sets each group's learning rate to its initial one times `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
