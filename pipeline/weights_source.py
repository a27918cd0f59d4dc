"""What `model.weights` names: a file, or the folder of a finished run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

RUN_FILE, BEST_FILE, RUN_SETTINGS = "model.safetensors", "best.safetensors", "config.yaml"
CHECKPOINT_FILE = "manifest.json"  # what a folder of a checkpoint has
RUN_FACTS = {"config", "epoch", "replaced_images"}  # in the header of every version's weights of a run


@dataclass(frozen=True)
class Source:
    """A file of tensors; `run` is the folder of the run whose network it is, None for all other files."""

    file: Path
    run: Path | None = None

    @property
    def name(self) -> str:
        """`run sysu`, or the name of the file."""
        return self.file.name if self.run is None else f"run {self.run.name}"


def find_weights(weights: str) -> Source:
    """Returns what a path stands for: a file, a run's folder (the weights of its end), or a file of weights in it.

    Raises FileNotFoundError where there is nothing, ValueError for a folder that isn't that of a finished run, for a
    checkpoint, and for the network of a run outside its folder, whose files say which identities it was trained on.
    """
    path = Path(os.path.abspath(weights))
    if path.is_dir():
        if not (path / RUN_SETTINGS).is_file():
            raise ValueError(
                f"weights: expected a file or the folder of a finished run; found {weights}, without {RUN_SETTINGS}"
            )
        if not (path / RUN_FILE).is_file():
            raise ValueError(f"weights: {weights}: the run isn't trained to its end: there is no {RUN_FILE} yet")
        return Source(path / RUN_FILE, path)
    if not path.is_file():
        raise FileNotFoundError(f"weights: no such file: {weights}")
    if (path.parent / CHECKPOINT_FILE).is_file() and (path.parents[2] / RUN_SETTINGS).is_file():
        raise ValueError(
            f"weights: {weights} is of a checkpoint: give the folder of its run once that is trained, {path.parents[2]}"
        )
    if path.name in (RUN_FILE, BEST_FILE) and (path.parent / RUN_SETTINGS).is_file():
        return Source(path, path.parent)
    if path.suffix == ".safetensors" and is_of_a_run(path):
        raise ValueError(
            f"weights: {weights} is the network of a run: give the run's folder, which says what it was trained on"
        )
    return Source(path)


def is_of_a_run(file: Path) -> bool:
    """Whether the header of a .safetensors file is that of a run's network; False for what can't be read."""
    try:
        with safe_open(file, framework="pt") as weights:
            return (weights.metadata() or {}).keys() >= RUN_FACTS
    except (SafetensorError, OSError):
        return False
