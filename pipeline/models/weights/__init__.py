"""Initial weights: from a file of whatever origin or from a finished run, into a backbone and a whole network."""

from pipeline.models.weights.errors import first_line
from pipeline.models.weights.from_run import load_run
from pipeline.models.weights.load import load_backbone_weights
from pipeline.models.weights.origin import digest, weights_origin
from pipeline.weights_source import Source, find_weights

__all__ = [
    "Source",
    "digest",
    "find_weights",
    "first_line",
    "load_backbone_weights",
    "load_run",
    "weights_origin",
]
