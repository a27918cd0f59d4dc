"""Index -> batches on the device: what is sampled, which images, how they are augmented."""
