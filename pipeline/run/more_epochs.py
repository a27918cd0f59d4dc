"""More epochs than a run was begun with: it goes on where it ended, if a training of that length would be there now."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.files import replace_atomically
from pipeline.optimization import depends_on_length
from pipeline.run.checkpoint import newest_step, weights_facts
from pipeline.run.trained import best_path, is_trained, weights_path
from pipeline.settings import Settings


def asks_for_more(settings: Settings, before: Settings) -> bool:
    return settings.train.epochs > before.train.epochs


def check_more_epochs(settings: Settings, before: Settings, folder: Path) -> None:
    """Raises ValueError, one line, where the run in `folder`, begun with the settings `before`, can't go on."""
    reason = obstacle(settings, before) or (missing_end(before, folder) if is_trained(folder) else None)
    if reason:
        raise ValueError(
            f"{folder}: belongs to a run with train.epochs={before.train.epochs}; found {settings.train.epochs}. It "
            f"can't go on for more: {reason}. Choose another name= or take the folder away"
        )


def obstacle(settings: Settings, before: Settings) -> str | None:
    """Returns why a training of more epochs isn't the same so far; None where it is."""
    if depends_on_length(settings.optimizer):
        key = "schedule_unit" if settings.optimizer.schedule_unit == "share" else "schedule"
        return f"the learning rate depends on the length (optimizer.{key}={getattr(settings.optimizer, key)})"
    if settings.method.depends_on_length:
        return f"the stages of the method depend on the length (method.type={settings.method.type})"
    every = before.validation.every_epochs
    if every and before.train.epochs % every:
        return f"a longer training isn't validated after epoch {before.train.epochs} (validation.every_epochs={every})"
    return None


def missing_end(before: Settings, folder: Path) -> str | None:
    """Returns why a trained run can't be taken up at its end; None where it can."""
    facts = weights_facts(weights_path(folder))
    if "ended_early" in facts:
        return f"it was ended by validation.patience={before.validation.patience}"
    if "step" not in facts:
        return "it is of a version that didn't keep the number of its steps"
    if newest_step(folder / "checkpoints") != int(facts["step"]):
        return f"the checkpoint of its last step, {facts['step']}, is gone"
    return None


def keep_shorter(folder: Path, finished: Path) -> None:
    """Gives the weights of a trained run the name of their epoch, and takes away `finished`, the mark of its end.

    Whenever that is cut off, the command repeats it; the run is trained until its weights are renamed, which is last.
    """
    path, best = weights_path(folder), best_path(folder)
    epoch = weights_facts(path)["epoch"]
    if best.exists():  # the original stays: a longer training may find none that is better
        replace_atomically(named(best, epoch), lambda unfinished: shutil.copyfile(best, unfinished))
    finished.unlink(missing_ok=True)
    path.rename(named(path, epoch))


def named(path: Path, epoch: str) -> Path:
    """Returns `model-epoch-80.safetensors` for `model.safetensors`."""
    return path.with_name(f"{path.stem}-epoch-{epoch}{path.suffix}")
