"""Index -> batches on the device: what is drawn, which pictures, how they are augmented."""
