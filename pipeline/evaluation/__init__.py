"""Features -> metrics: distances, ranking, re-ranking, rows of results."""
