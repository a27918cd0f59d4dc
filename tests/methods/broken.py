"""Parts with the mistakes that their authors make."""

from dataclasses import dataclass

import torch
from torch import nn

from pipeline.losses.term import LossTerm
from pipeline.settings_key import key


class Returns(LossTerm):
    """Returns something that isn't a scalar of the features."""

    @dataclass(frozen=True)
    class Options(LossTerm.Options):
        what: str = key("none", "which mistake")

    def forward(self, rows):
        per_row = rows.pooled.sum(dim=1)
        return {
            "none": None,
            "float": 1.0,
            "rows": per_row,
            "whole": per_row.sum().long(),
            "constant": torch.zeros(()),
            "nothing": {},
            "parts": {"a": per_row.sum(), "b": 2.0},
        }[self.settings.what]


class Unread(LossTerm):
    """Uses what it doesn't say it reads."""

    @dataclass(frozen=True)
    class Options(LossTerm.Options):
        pass

    def forward(self, rows):
        return rows.logits.sum()


class Misspelled(Unread):
    reads = ("logit",)


class Unused(LossTerm):
    """Has a parameter that its value doesn't depend on."""

    @dataclass(frozen=True)
    class Options(LossTerm.Options):
        pass

    def __init__(self, settings, context):
        super().__init__(settings, context)
        self.weight = nn.Parameter(torch.zeros(3))

    def forward(self, rows):
        return rows.pooled.mean()


class Forgotten(Unused):
    """Its parameters are in no optimizer."""

    def forward(self, rows):
        return rows.pooled.mean() + self.weight.sum()

    def parameter_group(self, lr):
        return {"params": [], "lr": lr}


class Undeclared(LossTerm):
    @dataclass(frozen=True)
    class Options(LossTerm.Options):
        size: int = 3

    def forward(self, rows):
        return rows.pooled.mean()


class NoTerm:
    @dataclass(frozen=True)
    class Options(LossTerm.Options):
        pass
