"""Index -> batches on the device: what is drawn, which images, how they are augmented."""
