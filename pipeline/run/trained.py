"""The weights that a training leaves in its run folder."""

from __future__ import annotations

from pathlib import Path


def weights_path(folder: Path) -> Path:
    """Returns the file of the weights of the last step, which are written before the evaluation."""
    return folder / "model.safetensors"


def best_path(folder: Path) -> Path:
    """Returns the file of the weights of the best validation, which is there once there was one."""
    return folder / "best.safetensors"


def is_trained(folder: Path) -> bool:
    """Whether a run is trained to its end."""
    return weights_path(folder).exists()
