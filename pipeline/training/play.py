"""A step of a game: the players move as its stage says."""

from __future__ import annotations

import logging
from typing import cast

from pipeline.losses.term import Parts
from pipeline.methods.game import Game
from pipeline.training.state import Training
from pipeline.training.taking import StepBatches

log = logging.getLogger("pipeline")


def play(training: Training, taken: StepBatches) -> Parts:
    """Returns the metrics of a step, detached; "loss", the sum of the players' losses, is the first."""
    players, game, step = training.players, cast(Game, training.bare_method), training.step
    stage = game.stage_at(step, training.steps)
    if step == 0 or game.stage_at(step - 1, training.steps).name != stage.name:
        log.info(f"step {step + 1}: the stage {stage.name} begins")
    training.batches.close_others(stage.streams)
    batches = {name: taken.next(name, training.step) for name in stage.streams}
    players.begin()
    with training.accelerator.autocast():
        parts = stage.play(batches, players)
    players.end()
    return {"loss": players.loss, **parts, "gradient_norm": players.gradient_norm}
