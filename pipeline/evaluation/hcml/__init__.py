"""HCML's metric between modalities (Ye et al., AAAI 2018): learned from the features of a finished training."""
