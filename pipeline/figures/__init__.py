"""Looking at it: data sets, training batches, and what a trained network makes of test images."""
