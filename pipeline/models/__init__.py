"""The network: a timm backbone with one stem per group of modalities, pooling, a batch-norm neck and a classifier."""
