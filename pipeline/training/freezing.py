"""The first epochs of a training, in which the pre-trained part of a method stands still (`freeze_backbone_epochs`).

Its gradients are dropped after the ranks have exchanged them, so that neither momentum nor weight decay moves it. Which
steps these are is a function of the step alone, so that resuming needs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from pipeline.methods.method import Method
from pipeline.settings import Settings


def frozen_steps(settings: Settings, steps_per_epoch: int) -> int:
    """Returns the number of first steps in which the pre-trained part stands still."""
    return round(settings.train.freeze_backbone_epochs * steps_per_epoch)


def check_freezing(settings: Settings, method: Method) -> None:
    """Raises ValueError where the pre-trained part is to stand still and there is none, or nothing else to train."""
    if not settings.train.freeze_backbone_epochs:
        return
    frozen = {*method.pretrained_parameters()}
    if not frozen:
        raise ValueError(
            f"train.freeze_backbone_epochs: expected 0 for the method {settings.method.name}, which names nothing that "
            f"is pre-trained; found {settings.train.freeze_backbone_epochs:g}"
        )
    if not any(parameter.requires_grad for parameter in method.parameters() if parameter not in frozen):
        raise ValueError(
            "train.freeze_backbone_epochs: expected 0 where nothing but the backbone is trained; "
            f"found {settings.train.freeze_backbone_epochs:g}"
        )


def drop_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Removes the gradients of parameters that stand still, in place."""
    for parameter in parameters:
        parameter.grad = None
