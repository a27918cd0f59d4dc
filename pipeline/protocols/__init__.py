"""Building blocks of the data sets' protocols: trials, the pairs they leave out, and common ways to make galleries."""

from pipeline.protocols.trial import DIRECTIONS, Exclusion, Trial, exclude_none

__all__ = ["DIRECTIONS", "Exclusion", "Trial", "exclude_none"]
