"""Features -> figures: distances, ranking, re-ranking, rows of results."""
