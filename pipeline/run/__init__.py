"""The files of a run: its folder, its lock, its checkpoints, the identities it was trained on."""
