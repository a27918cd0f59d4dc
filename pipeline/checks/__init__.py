"""Finds the faults of a user's copy of a data set before any training."""
