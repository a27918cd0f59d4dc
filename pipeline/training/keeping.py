"""The weights that a training leaves for evaluation: of its end, and of its best validation."""

from __future__ import annotations

from pathlib import Path

from pipeline.distributed import on_first_rank
from pipeline.evaluation.model_info import ModelInfo, epochs_of, hash_of_weights
from pipeline.run.chosen import BEST
from pipeline.run.provenance import read_facts
from pipeline.run.trained import best_path, weights_path
from pipeline.training.state import Training


def keep_last(training: Training) -> None:
    """Writes the tested network of the end, with the facts of its training. Called by one rank."""
    ended_early = training.validation is not None and training.validation.ends_training
    save(training, "last", weights_path(training.folder), ended_early=ended_early)


def keep_best(training: Training) -> None:
    """Writes the tested network where its validation is the best so far. Called by all ranks; the first one writes.

    After the checkpoint of this step, so that a kill between the two loses nothing: whoever resumes there writes it.
    """
    if training.validation is not None and training.validation.best.step == training.step > 0:
        best, metric, path = training.validation.best, training.validation.metric, best_path(training.folder)
        on_first_rank(training.accelerator, lambda: save(training, BEST, path, f"{metric} {best.value!r}"))


def save(training: Training, selection: str, path: Path, validation: str = "", ended_early: bool = False) -> None:
    """Writes the tested network as it is now. validation, ended_early: what is known of it (`ModelInfo`)."""
    facts = read_facts(training.folder)
    assert facts is not None  # every start of a training writes them
    info = ModelInfo(
        hash_of_weights(training.settings, selection),
        epochs_of(training.step, training.steps_per_epoch),
        training.replaced.count,
        training=facts.until(training.step),
        step=training.step,
        validation=validation,
        ended_early=ended_early,
    )
    info.save(training.tested, path, training.identities)
