"""Linear classifiers, as the field's networks start them."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from pipeline.batch import Modality

DEVIATION = 0.001  # of the initial weights: the first predictions are nearly equal


def new_classifier(width: int, classes: int, bias: bool = False) -> nn.Linear:
    """Returns a linear classifier of features (B, width) with small normal weights (Luo et al., "Bag of Tricks", 2019),
    and zeros for a bias."""
    classifier = nn.Linear(width, classes, bias=bias)
    nn.init.normal_(classifier.weight, std=DEVIATION)
    if bias:
        nn.init.zeros_(classifier.bias)
    return classifier


def classifiers_of_captured(
    modalities: Iterable[Modality], width: int, classes: int, bias: bool = False
) -> nn.ModuleDict:
    """Returns a `new_classifier` for each captured modality, by its key, that is in use or has a derivative in use."""
    bases = dict.fromkeys(modality.base.key for modality in modalities)
    return nn.ModuleDict({base: new_classifier(width, classes, bias) for base in bases})
