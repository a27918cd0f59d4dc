"""The network: a timm backbone with one stem per group of modalities, pooling, a BN neck and a classifier."""
