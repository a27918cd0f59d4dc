"""One objective whose embedding is decorrelated in rounds: the second stage of D-HSME, after SVDNet."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass

from torch import nn

from pipeline.gathering import keep_equal
from pipeline.methods.method import Share
from pipeline.methods.one_objective import OneObjective
from pipeline.models.embedding_head import EmbeddingHead
from pipeline.settings import Settings
from pipeline.settings_key import key

log = logging.getLogger("pipeline")


class Decorrelation(OneObjective):
    """Each round turns the layers of all embedding heads orthogonal (`EmbeddingHead.decorrelate`); then it trains with
    them held still (restraint), then all together (relaxation).

    Sun et al., "SVDNet for Pedestrian Retrieval", ICCV 2017. Hao et al., "HSME", AAAI 2019, decorrelate in a second
    stage; how many rounds they use, and how long, wasn't to be read.
    """

    @dataclass(frozen=True)
    class Options(OneObjective.Options):
        depends_on_length = True
        rounds: int = key(3, "of decorrelation, restraint and relaxation", min=1)
        rounds_begin: float = key(0.5, "share of the training before the first of them", min=0, max=0.99)

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__(*parts)  # type: ignore[arg-type]
        self.epochs, self.options = 1, self.Options()

    @classmethod
    def build(cls, settings: Settings, identities: int, share: Share, weights: bool = True) -> Decorrelation:
        if settings.train.ema:
            raise ValueError(
                f"train.ema: expected 0 for the method {settings.method.name}, whose embedding is turned in between; "
                f"found {settings.train.ema:g}"
            )
        method = super().build(settings, identities, share, weights)
        assert isinstance(method, cls)
        method.epochs, method.options = settings.train.epochs, settings.method
        if not method.decorrelated:
            raise ValueError(
                "method.type: decorrelation needs a head of type embedding with a width of at most the backbone's, no "
                "norm and no activation behind it"
            )
        for name, term in method.objective.terms.items():
            if "embedding" in term.reads and [*term.parameters()]:
                raise ValueError(f"losses.{name}: has layers for an embedding, which decorrelation turns without them")
        return method

    @property
    def decorrelated(self) -> list[EmbeddingHead]:
        heads = [head for head in self.network.heads.children() if isinstance(head, EmbeddingHead)]
        return [head for head in heads if head.decorrelates]

    def stages(self, steps_per_epoch: int) -> list[int]:
        """Returns the first steps of restraint, relaxation, restraint, ..., which share the last steps evenly."""
        steps, count = self.epochs * steps_per_epoch, 2 * self.options.rounds
        first = self.options.rounds_begin * steps
        return [round(first + number * (steps - first) / count) for number in range(count)]

    def begin_step(self, step: int, steps_per_epoch: int) -> None:
        super().begin_step(step, steps_per_epoch)
        if step in self.stages(steps_per_epoch)[::2]:
            for head in self.decorrelated:
                head.decorrelate()
                keep_equal(head)  # another device may have decomposed it another way
            log.info(f"step {step + 1}: a round of decorrelation begins")

    def held_still(self, step: int, steps_per_epoch: int) -> Collection[nn.Parameter]:
        begun = sum(step >= first for first in self.stages(steps_per_epoch))
        if begun % 2 == 0:  # before the rounds, or in a relaxation
            return ()
        return [parameter for head in self.decorrelated for parameter in head.connected.parameters()]
