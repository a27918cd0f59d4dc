"""The learning rate as a stateless function of the step."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from pipeline.settings import OptimizerSettings


def learning_rate_factor(epoch: float, epochs: float, settings: OptimizerSettings) -> float:
    """Returns the factor of the initial learning rate after `epoch` (with its fraction) epochs of `epochs`."""
    if settings.schedule_unit == "share":  # not shares as epochs: 0.1 * 30 is more than 3, but 3 / 30 is 0.1
        epoch, epochs = epoch / epochs, 1.0
    if epoch < settings.warmup:
        return settings.warmup_start + (1 - settings.warmup_start) * epoch / settings.warmup
    if settings.schedule == "step":
        return settings.lr_decay ** sum(epoch >= milestone for milestone in settings.milestones)
    progress = (epoch - settings.warmup) / max(epochs - settings.warmup, 1e-9)
    return settings.lr_decay + (1 - settings.lr_decay) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def depends_on_length(settings: OptimizerSettings) -> bool:
    """Whether the learning rate at a step depends on `train.epochs`."""
    return settings.schedule == "cosine" or settings.schedule_unit == "share"


def check_schedule(settings: OptimizerSettings) -> None:
    """Raises ValueError naming the key for a share of the training that is above 1."""
    if settings.schedule_unit != "share":
        return
    milestones = settings.milestones if settings.schedule == "step" else []
    for key, values in {"warmup": [settings.warmup], "milestones": milestones}.items():
        for value in values:
            if value > 1:
                raise ValueError(
                    f"optimizer.{key}: expected a share of train.epochs, 0-1, as optimizer.schedule_unit=share says; "
                    f"found {value:g}"
                )


def schedule_problems(epochs: float, settings: OptimizerSettings) -> list[str]:
    """Returns what of the schedule a training of `epochs` never reaches, a sentence each."""
    problems = []
    length, unit = (1.0, "of the training") if settings.schedule_unit == "share" else (epochs, "epochs")
    if settings.warmup >= length:
        highest = learning_rate_factor(epochs, epochs, replace(settings, schedule="step", milestones=[]))
        problems.append(
            f"optimizer.warmup: the warm-up of {settings.warmup:g} {unit} is not over after train.epochs="
            f"{epochs:g}; the learning rate gets to {highest:.2f} of optimizer.lr"
        )
    unreached = [milestone for milestone in settings.milestones if milestone >= length]
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
