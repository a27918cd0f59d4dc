"""Linear classifiers, as the field's networks start them."""

from __future__ import annotations

from torch import nn

DEVIATION = 0.001  # of the initial weights: the first predictions are nearly equal


def new_classifier(width: int, classes: int, bias: bool = False) -> nn.Linear:
    """Returns a linear classifier of features (B, width) with small normal weights (Luo et al., "Bag of Tricks", 2019),
    and zeros for a bias."""
    classifier = nn.Linear(width, classes, bias=bias)
    nn.init.normal_(classifier.weight, std=DEVIATION)
    if bias:
        nn.init.zeros_(classifier.bias)
    return classifier
