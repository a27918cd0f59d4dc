"""When a training validates, what of it a checkpoint keeps, and when it ends the training."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field

import pandas as pd
from accelerate import Accelerator

from pipeline.evaluation.validation import Validator
from pipeline.settings import Settings


@dataclass
class BestSoFar:
    """The best validation since the training began; part of its checkpoints.

    value  per cent, of the metric that selects
    step   after which it was made; 0: none yet
    since  validations since, none of them better
    """

    value: float = -math.inf
    step: int = 0
    since: int = 0

    def state_dict(self) -> dict[str, float]:
        return dataclasses.asdict(self)

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.value, self.step, self.since = state["value"], int(state["step"]), int(state["since"])

    def add(self, value: float, step: int) -> None:
        """Counts a validation after `step`; the first of two equal ones is the best."""
        if value > self.value:
            self.value, self.step, self.since = value, step, 0
        else:
            self.since += 1


@dataclass
class Validation:
    """The validations of a training.

    steps     optimizer steps between two
    metric    name of the one that selects
    patience  validations without improvement that end the training; None: none do
    """

    validator: Validator
    steps: int
    metric: str
    patience: int | None = None
    best: BestSoFar = field(default_factory=BestSoFar)

    @property
    def ends_training(self) -> bool:
        return self.patience is not None and self.best.since >= self.patience

    def line(self, step: int, found: dict[str, float]) -> str:
        """Returns the line of the log for a validation."""
        metrics = f"mAP {found['mAP']:.1f} rank-1 {found['rank_1']:.1f} mINP {found['mINP']:.1f}"
        end = f"; the last {self.best.since} were no better: the training ends" if self.ends_training else ""
        best = f"best {self.metric} {self.best.value:.1f} at step {self.best.step}"
        return f"validation at step {step}: {metrics} ({best}){end}"


def prepare_validation(
    settings: Settings, accelerator: Accelerator, index: pd.DataFrame, steps_per_epoch: int
) -> Validation | None:
    """Returns the validations that the settings ask for; None for none. Raises ValueError where they can't be made."""
    asked = settings.validation
    if asked.every_epochs is None:
        return None
    steps = asked.every_epochs * steps_per_epoch
    return Validation(Validator(settings, index, accelerator), steps, asked.metric, asked.patience)
