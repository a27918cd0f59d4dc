"""What can be wrong with a user's copy of a data set, found before any training."""
