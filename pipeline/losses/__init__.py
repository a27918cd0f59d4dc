"""The losses: identity, within each modality (MML), across pairs of modalities (MDL), and their weighted sum."""
