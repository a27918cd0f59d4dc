"""Validation during a training: the tested network on identities that are neither trained on nor tested."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator

from pipeline.build import build_trials
from pipeline.datasets.held_out import validation_settings, validation_split
from pipeline.evaluation.evaluator import score_shared, tested_rows, trial_metrics
from pipeline.evaluation.features import extract_features, network_extractor
from pipeline.evaluation.rehearsal import rehearse
from pipeline.loading.images import open_images
from pipeline.metric_columns import VALIDATION
from pipeline.protocols import Trial
from pipeline.settings import Settings

log = logging.getLogger("pipeline")


def check_validation(settings: Settings, index: pd.DataFrame) -> None:
    """Raises ValueError where the validations that are asked for can't be made, or are needed and not asked for.

    index: with the held-out identities in a split of their own.
    """
    asked = settings.validation
    if asked.every_epochs is not None:
        validation_trials(settings, index)
        return
    if asked.identities:
        log.warning(
            "validation.identities: holds identities out, and nothing is validated; set validation.every_epochs"
        )
    for name, value, none in (("selection", asked.selection, "last"), ("patience", asked.patience, None)):
        if value != none:
            raise ValueError(f"validation.{name}: {value} needs validation.every_epochs, a number; found null")


def validation_trials(settings: Settings, index: pd.DataFrame) -> tuple[Settings, list[Trial]]:
    """Returns the settings that evaluate a validation, and its trials.

    Raises ValueError where there is no split to validate on, or its trials can't be made.
    """
    validated = validation_settings(settings, validation_split(index, settings))
    return validated, build_trials(validated, index)


class Validator:
    """The trials of the validation split, made once, and their images.

    Features and metrics are those of the command `evaluate` on that split: the same code with `settings`.
    """

    def __init__(self, settings: Settings, index: pd.DataFrame, accelerator: Accelerator) -> None:
        """Raises what `validation_trials` raises."""
        self.settings, self.trials = validation_trials(settings, index)
        self.index, self.accelerator = index, accelerator
        self.rows = tested_rows(self.trials)
        self.identities = index["identity"].iloc[self.rows].nunique()
        self.images = open_images(settings.data.root, index)

    def rehearse(self, network: torch.nn.Module) -> None:
        """Raises what a validation would raise, at the cost of a few images. Called by all ranks."""
        extractor = network_extractor(network, self.settings, self.accelerator)
        rehearse(self.settings, self.index, extractor, self.accelerator)

    def measure(self, network: torch.nn.Module) -> dict[str, float]:
        """Returns mAP, rank_1 and mINP in per cent, means over all trials, the same on every rank.

        Leaves the network in evaluation mode and random states as they were. Called by all ranks.
        """
        settings, accelerator = self.settings, self.accelerator
        extractor = network_extractor(network, settings, accelerator)
        features = extract_features(extractor, self.index, self.rows, settings, accelerator, self.images)
        tested = self.index.iloc[self.rows].reset_index(drop=True)
        within = [trial.within(self.rows) for trial in self.trials]
        share = (accelerator.process_index, accelerator.num_processes)
        scores = score_shared(features, tested, within, settings.evaluation, share)
        metrics = [trial_metrics(trial, of_trial) for trial, of_trial in zip(within, scores, strict=True)]
        return {name: float(np.mean([of_trial[name] for of_trial in metrics])) for name in VALIDATION.values()}
