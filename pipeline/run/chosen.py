"""Which weights of a run are evaluated: those of the end, of the best validation, or of a checkpoint."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from pipeline.run.checkpoint import checkpoints, damage, step_of
from pipeline.run.trained import best_path, is_trained, weights_path
from pipeline.settings import Settings

BEST = "best_on_validation"

log = logging.getLogger("pipeline")


@dataclass(frozen=True)
class ChosenWeights:
    """The weights of a run to evaluate.

    path       a file of weights; of a checkpoint its folder
    selection  the column of results: last, best_on_validation, or `step 400` of a checkpoint
    """

    path: Path
    selection: str

    @property
    def is_checkpoint(self) -> bool:
        return self.path.is_dir()


def check_choice(asked: str | None) -> None:
    """Raises ValueError unless `asked` is last, best, a step, or None."""
    if asked is not None and asked not in ("last", "best") and not (asked.isascii() and asked.isdecimal()):
        raise ValueError(f"checkpoint: expected last, best or a step; found {asked!r}")


def choose_weights(folder: Path, kept: Settings, asked: str | None = None) -> ChosenWeights:
    """Returns the weights of the run in `folder`, trained as `kept` says. Called by one rank.

    asked: last, best or a step; None: as `validation.selection` says. Of a run that isn't trained to its end, the last
    ones are those of its newest intact checkpoint, which a warning says. Raises ValueError where there is none of that
    step, naming those there are, where it is damaged, or where no validation has kept a best.
    """
    check_choice(asked)
    if asked not in (None, "last", "best"):
        return of_checkpoint(folder, int(str(asked)))
    if asked == "best" or (asked is None and kept.validation.selection == "best" and is_trained(folder)):
        if not best_path(folder).exists():
            raise ValueError(f"{best_path(folder)}: no such file; a training with validation.every_epochs keeps it")
        return ChosenWeights(best_path(folder), BEST)
    if is_trained(folder):
        return ChosenWeights(weights_path(folder), "last")
    return newest(folder)


def of_checkpoint(folder: Path, step: int, allowed: str = "last, best or a step") -> ChosenWeights:
    found = {step_of(path): path for path in checkpoints(folder / "checkpoints")}
    if step not in found:
        there = ", ".join(map(str, found)) or "none"
        raise ValueError(f"checkpoint: expected {allowed} that {folder} keeps ({there}); found {step}")
    reason = damage(found[step])
    if reason is not None:
        raise ValueError(f"{found[step]}: {reason}")
    return ChosenWeights(found[step], f"step {step}")


def newest(folder: Path) -> ChosenWeights:
    """Returns the newest checkpoint that is intact; a warning says which it is."""
    path = newest_intact(folder, "a trained run, with model.safetensors or an intact checkpoint; found neither")
    log.warning(f"{folder}: isn't trained to its end; its newest checkpoint is evaluated, {path.name}")
    return ChosenWeights(path, f"step {step_of(path)}")


def newest_intact(folder: Path, expected: str) -> Path:
    """Returns a run's newest intact checkpoint; damaged ones stay where they are, as the run may be training.

    Raises ValueError, which says what was `expected`, where there is none.
    """
    for path in reversed(checkpoints(folder / "checkpoints")):
        reason = damage(path)
        if reason is None:
            return path
        log.warning(f"{path}: not used: {reason}")
    raise ValueError(f"{folder}: expected {expected}")
