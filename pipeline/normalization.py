"""Mean and standard deviation of pixels: what the backbone's weights expect, unless a configuration gives others."""

from __future__ import annotations

import functools
from dataclasses import replace

from dali_ops.normalize import IMAGENET, Normalization
from pipeline.config import load_kept
from pipeline.settings import ModelSettings, Settings
from pipeline.weights_source import RUN_SETTINGS, find_weights


def with_normalization(settings: Settings) -> Settings:
    """Returns the settings with `augment.mean` and `augment.std` filled in, as a run keeps them."""
    found = normalization_of(settings)
    return replace(settings, augment=replace(settings.augment, mean=found.mean, std=found.std))


def normalization_of(settings: Settings) -> Normalization:
    """Returns what images are normalized by: `augment.mean` and `augment.std`, each the weights' own where it is null.

    Those of weights are of the run that they come from (`model.weights`), else of timm's data configuration.
    """
    mean, std = settings.augment.mean, settings.augment.std
    if mean is None or std is None:
        own = normalization_of_weights(settings.model)
        mean, std = mean or own.mean, std or own.std
    return Normalization(mean, std)


def normalization_of_weights(model: ModelSettings) -> Normalization:
    """Returns what weights expect; that of timm, or ImageNet's, where there are none, which building then reports."""
    try:
        run = find_weights(model.weights).run if model.weights else None
    except (ValueError, FileNotFoundError):
        run = None
    return normalization_of(load_kept(run / RUN_SETTINGS)) if run else normalization_by_timm(model.backbone)


@functools.cache
def normalization_by_timm(backbone: str) -> Normalization:
    import timm  # here: it takes seconds, for which commands that need no network don't wait

    try:
        found = timm.get_pretrained_cfg(backbone)
    except RuntimeError:  # an unknown tag
        found = None
    if found is None:
        return IMAGENET
    (red, green, blue), (red_std, green_std, blue_std) = found.mean, found.std
    return Normalization((red, green, blue), (red_std, green_std, blue_std))
