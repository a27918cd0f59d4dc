"""What a run keeps on disc: its folder, its lock, its checkpoints, who it was trained on."""
