"""A discriminator of modalities, against which the network learns: cmGAN's adversary, as an option of any method."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

from pipeline.batch import Modality
from pipeline.losses.term import LossContext, LossTerm, Rows
from pipeline.settings_key import key


class Reversal(torch.autograd.Function):
    """The identity, whose gradient is turned round: times -strength (Ganin and Lempitsky, ICML 2015)."""

    @staticmethod
    def forward(context: Any, features: torch.Tensor, strength: float) -> torch.Tensor:
        context.strength = strength
        return features.view_as(features)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return -context.strength * gradient, None


class AdversaryLoss(LossTerm):
    """Sum over the captured modalities of the mean binary cross-entropy of two logits, one for each, of the rows that
    are it or are derived of it.

    The discriminator minimizes it; the features before it get the gradient times -strength, and so hide their modality.
    At chance it is 2 log 2. One backward pass does what cmGAN's two alternating steps are for (Dai et al., IJCAI 2018;
    its weight 0.05 and layers by the unofficial sshkhr/cmGAN, which reverses the wrong sides).
    """

    @dataclass(frozen=True)
    class Options(LossTerm.Options):
        of: Literal["pooled", "embedding"] = key("pooled", "the feature that the discriminator sees")
        strength: float = key(0.05, "of the reversed gradient; 0: the network learns as without it", min=0)
        ramp_steps: int = key(0, "steps in which the strength grows from 0 (Ganin and Lempitsky); 0: constant", min=0)
        hidden: list[int] = key([1000, 500], "widths of the discriminator's hidden layers", min=1)

    settings: Options
    compares_rows = False

    def __init__(self, settings: Options, context: LossContext) -> None:
        self.reads = (settings.of,)
        super().__init__(settings, context)
        if len({modality.base for modality in context.modalities}) < 2:
            raise ValueError("type: a discriminator of modalities needs both captured ones in use")
        self.discriminator = discriminator([self.width_of(settings.of), *settings.hidden])
        self.strength = settings.strength

    def begin_step(self, step: int, steps_per_epoch: int) -> None:
        """Sets the strength of the step: s (2 / (1 + exp(-10 t / T)) - 1), or s."""
        ramp = self.settings.ramp_steps
        share = 2 / (1 + math.exp(-10 * step / ramp)) - 1 if ramp else 1.0
        self.strength = self.settings.strength * share

    def forward(self, rows: Rows) -> torch.Tensor:
        losses = []
        for base in (Modality.VISIBLE, Modality.INFRARED):
            divided = [rows.of(modality) for modality in self.context.modalities if modality.base == base]
            own = torch.cat([getattr(part, self.settings.of) for part in divided])
            if len(own):
                logits = self.discriminator(Reversal.apply(own, self.strength))
                target = torch.zeros_like(logits)
                target[:, int(base)] = 1.0
                losses.append(functional.binary_cross_entropy_with_logits(logits, target))
        return torch.stack(losses).sum()


def discriminator(widths: Sequence[int]) -> nn.Sequential:
    """Returns linear layers of these widths with ReLUs behind them, and a last one of two logits."""
    hidden = [layer for sizes in itertools.pairwise(widths) for layer in (nn.Linear(*sizes), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(widths[-1], 2))
