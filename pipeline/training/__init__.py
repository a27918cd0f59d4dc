"""Batches -> trained weights: one loss and one optimiser step, whatever the number of processes."""
