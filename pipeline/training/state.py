"""The state of a training."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from timm.utils import ModelEmaV3

from pipeline.loading.replacement import ReplacedCount
from pipeline.loading.streams import Streams
from pipeline.methods.method import Method
from pipeline.methods.players import Players
from pipeline.settings import Settings
from pipeline.tracking import Trackers
from pipeline.training.freezing import frozen_steps
from pipeline.training.stopping import StopRequest
from pipeline.training.validation import Validation
from pipeline.training.watch import DiscriminatorWatch


@dataclass
class Training:
    """The state that the loop works on.

    `method`, and the optimizers of `players`, are prepared by Accelerate.
    """

    settings: Settings
    accelerator: Accelerator
    norm: str  # one of `pipeline.models.norm.NORMS`
    method: torch.nn.Module
    players: Players
    batches: Streams
    steps_per_epoch: int
    identities: int  # trained on
    folder: Path
    step: int = 0
    first_step: int | None = None  # of this start
    average: ModelEmaV3 | None = None
    replaced: ReplacedCount = field(default_factory=ReplacedCount)
    validation: Validation | None = None
    watch: DiscriminatorWatch = field(default_factory=lambda: DiscriminatorWatch({}))
    stop: StopRequest = field(default_factory=StopRequest)
    trackers: Trackers = field(default_factory=Trackers)

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to train: after the last step, or the validation that ends the training."""
        return self.step >= self.steps or (self.validation is not None and self.validation.ends_training)

    @property
    def steps(self) -> int:
        return self.settings.train.epochs * self.steps_per_epoch

    @property
    def frozen_steps(self) -> int:
        """Number of first steps in which the pre-trained part of the method stands still."""
        return frozen_steps(self.settings, self.steps_per_epoch)

    @property
    def bare_method(self) -> Method:
        """The method without what Accelerate wraps it in."""
        return self.accelerator.unwrap_model(self.method)

    @property
    def tested(self) -> torch.nn.Module:
        return self.average.module if self.average else self.bare_method.tested

    @property
    def lr(self) -> float:
        """The leading player's learning rate of the group "heads"; of its last group where none has that name."""
        first = self.players.leading.optimizer.param_groups
        groups = {group.get("name", ""): group["lr"] for group in first}
        return groups.get("heads", [*groups.values()][-1])
