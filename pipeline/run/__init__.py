"""What a run keeps on disk: its folder, its lock, its checkpoints, who it was trained on."""
