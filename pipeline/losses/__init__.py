"""The losses: identity, within each modality (MML), across pairs of them (MDL), those of others, and their sum."""
