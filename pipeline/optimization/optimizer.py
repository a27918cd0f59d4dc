"""The optimizer: torch's own SGD, Adam and AdamW, fused, and every other one that timm has."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import timm.optim
import torch

from pipeline.settings import OptimizerSettings
from pipeline.text import nearest

ParameterGroup = dict[str, Any]  # as torch's optimizers take it, with a "name"
Maker = Callable[..., torch.optim.Optimizer]

FUSED: dict[str, Maker] = {  # in one kernel
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}
# arguments of optimizers that are keys of their own
KEYS = {name: f"optimizer.{name}" for name in ("lr", "weight_decay", "momentum")}


def create_optimizer(groups: list[ParameterGroup], settings: OptimizerSettings) -> torch.optim.Optimizer:
    """Returns the optimizer of parameter groups that have a "params" and a "lr" each.

    The rate that a group begins with stays in its "initial_lr"; any other key of a group, such as its "weight_decay",
    overrides the settings. Raises ValueError naming the key for an optimizer that timm doesn't have or that can't be
    used here, and for an argument that it doesn't take.
    """
    make = optimizer_maker(settings)
    check_arguments(make, settings)
    groups = [{**group, "initial_lr": group["lr"]} for group in groups]
    try:
        optimizer = make(groups, lr=settings.lr, weight_decay=settings.weight_decay, **settings.kwargs)
    except Exception as error:  # each of many optimizers checks its arguments in its own way, or not at all
        reason, asked = (
            " ".join(str(error).split()),
            f" (optimizer.kwargs={settings.kwargs})" if settings.kwargs else "",
        )
        raise ValueError(f"optimizer.name: {settings.name} can't be made: {reason}{asked}") from error
    if isinstance(optimizer, torch.optim.SGD):
        fill_momentum(optimizer)
    return optimizer


def check_optimizer(settings: OptimizerSettings) -> None:
    """Raises what `create_optimizer` would raise, before there is a network."""
    create_optimizer([{"params": [torch.nn.Parameter(torch.zeros(2, 2))], "lr": settings.lr}], settings)


def optimizer_maker(settings: OptimizerSettings) -> Maker:
    """Returns what makes the optimizer of its parameter groups. Raises ValueError for a name that can't be used."""
    name, known = settings.name, [str(name) for name in timm.optim.list_optimizers()]
    if name not in known:
        hint = nearest(name, known) or "; `timm.optim.list_optimizers()` has their names"
        raise ValueError(f"optimizer.name: expected an optimizer of timm; found {name!r}{hint}")
    info = timm.optim.get_optimizer_info(name)
    if info.second_order:
        raise ValueError(f"optimizer.name: {name} needs second derivatives, which training doesn't compute")
    arguments: dict[str, Any] = {"momentum": settings.momentum} if info.has_momentum else {}
    if name == "sgd":
        arguments["nesterov"] = settings.momentum > 0
    if name in FUSED:
        return partial(FUSED[name], fused=True, **arguments)
    try:
        make = timm.optim.get_optimizer_class(name)
    except (AssertionError, ImportError) as error:  # those of other packages
        raise ValueError(f"optimizer.name: {name} can't be used here: {error}") from error
    if "deterministic" in inspect.signature(make).parameters:  # else kron's random numbers aren't in checkpoints
        arguments["deterministic"] = True
    return partial(make, **arguments)


def check_arguments(make: Maker, settings: OptimizerSettings) -> None:
    """Raises ValueError naming the first of `optimizer.kwargs` that the optimizer doesn't take, or that is a key."""
    parameters = inspect.signature(make).parameters
    known = [name for name in parameters if name not in ("params", *KEYS)]
    for name in settings.kwargs:
        if name in KEYS:
            raise ValueError(f"optimizer.kwargs: {name} has a key of its own, {KEYS[name]}")
        if name not in known:
            hint = nearest(str(name), known) or f"; it takes {', '.join(known)}"
            raise ValueError(f"optimizer.kwargs: {settings.name} has no argument {name}{hint}")


def fill_momentum(optimizer: torch.optim.SGD) -> None:
    """Starts the momentum, where there is one, with zeros, which changes no step.

    Fused SGD allocates it uninitialized and fills it at its first step. Where fp16's scaler skips that step, whatever
    was in the memory would be the momentum of the second (torch 2.14).
    """
    for group in optimizer.param_groups:
        for parameter in group["params"] if group["momentum"] > 0 else ():
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
