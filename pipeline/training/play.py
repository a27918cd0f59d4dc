"""A step of a game: the players move as its stage says."""

from __future__ import annotations

from typing import cast

from pipeline.losses.term import Parts
from pipeline.methods.game import Game
from pipeline.training.state import Training
from pipeline.training.taking import StepBatches


def play(training: Training, taken: StepBatches) -> Parts:
    """Returns the metrics of a step, detached; "loss", the sum of the players' losses, is the first."""
    players, stage = training.players, cast(Game, training.bare_method).stage_at(training.step, training.steps)
    training.batches.close_others(stage.streams)
    batches = {name: taken.next(name, training.step) for name in stage.streams}
    players.begin()
    with training.accelerator.autocast():
        parts = stage.play(batches, players)
    players.end()
    return {"loss": players.loss, **parts, "gradient_norm": players.gradient_norm}
