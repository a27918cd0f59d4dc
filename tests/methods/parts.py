"""Parts as a user would write them, outside of the project: named by `module:Class` in a configuration."""

from dataclasses import dataclass

import torch
from torch import nn

from pipeline.losses.term import LossTerm
from pipeline.methods.method import Player
from pipeline.methods.one_objective import OneObjective
from pipeline.settings_key import key


class CenterLoss(LossTerm):
    """Mean of ||f_i - c_{y_i}||^2, with a center of each identity that is learned at a rate of its own."""

    @dataclass(frozen=True)
    class Options(LossTerm.Options):
        lr: float = key(0.5, "of the centers", min=0)

    def __init__(self, settings, context):
        super().__init__(settings, context)
        (width,) = {context.widths[name] for name in self.features}
        self.centers = nn.Parameter(torch.zeros(context.identities, width))

    def forward(self, rows):
        return (rows.pooled - self.centers[rows.labels]).square().sum(dim=1).mean()

    def parameter_group(self, lr):
        return super().parameter_group(self.settings.lr) | {"weight_decay": 0.0}


class TwoPlayers(OneObjective):
    """The heads have an optimizer of their own, whose schedule lets them rest."""

    def players(self, settings):
        groups = {group["name"]: [{**group, "initial_lr": group["lr"]}] for group in self.parameter_groups(settings)}
        return [
            Player("backbone", torch.optim.SGD(groups["backbone"], lr=0.1, momentum=0.9), lambda epoch: 1.0),
            Player("heads", torch.optim.Adam(groups["heads"]), lambda epoch: 0.0 if epoch < 1 else 0.1),
        ]


CENTER, TWO_PLAYERS = (f"{__name__}:{part.__name__}" for part in (CenterLoss, TwoPlayers))
