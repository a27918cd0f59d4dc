"""A warning where a discriminator wins: its generator then learns nothing more."""

from __future__ import annotations

import logging
from collections.abc import Mapping

SHARE = 0.08  # of what its loss is where it can tell nothing: 0.02 of 0.25 for least squares with a half
STEPS = 500  # in a row

log = logging.getLogger("pipeline")


class DiscriminatorWatch:
    """Counts steps in a row in which a discriminator told real from generated images almost without error.

    chance  the loss where it can tell nothing, by its name
    """

    def __init__(self, chance: Mapping[str, float]) -> None:
        self.chance = chance
        self.low = dict.fromkeys(chance, 0)

    def add(self, number: int, parts: Mapping[str, float]) -> None:
        """Takes the metrics of step `number`. Warns once in a row of low ones."""
        for name in self.chance.keys() & parts.keys():
            self.low[name] = self.low[name] + 1 if parts[name] < SHARE * self.chance[name] else 0
            if self.low[name] == STEPS:
                log.warning(
                    f"step {number}: {name} stayed below {SHARE * self.chance[name]:.3g} for {STEPS} steps (it is "
                    f"{self.chance[name]:g} where nothing can be told): the discriminator wins and its generator no "
                    "longer learns; look at images/, lower method.image_optimizer.lr or begin anew with another seed"
                )
