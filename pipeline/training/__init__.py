"""Batches -> trained weights: one loss and one optimizer step, whatever the number of processes."""
