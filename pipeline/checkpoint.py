"""Checkpoints that are there whole or not at all.

A checkpoint is written to a folder with another name, forced to the disc, then renamed: a run killed at any moment
finds the newest complete one.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pipeline.files import UNFINISHED, force_to_disc, replace_atomically


def save_checkpoint(accelerator: Accelerator, folder: Path, step: int, keep: int) -> None:
    """Saves the training as it stands after `step` optimiser steps; keeps the newest `keep`. Called by all ranks.

    Weights, optimiser, gradient scaler, random states of every rank and what was registered for checkpointing.
    """
    unfinished = folder / f"{UNFINISHED}{step:08d}"
    if accelerator.is_main_process:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"{UNFINISHED}*"):
            shutil.rmtree(leftover)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(unfinished))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        for file in unfinished.iterdir():
            force_to_disc(file)
        force_to_disc(unfinished)
        os.replace(unfinished, folder / f"step-{step:08d}")
        force_to_disc(folder)
        for old in checkpoints(folder)[:-keep]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()


def checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, the oldest first."""
    return sorted(folder.glob("step-*"))


def load_newest(accelerator: Accelerator, folder: Path) -> int:
    """Restores the newest checkpoint; returns its step, 0 where there is none."""
    found = checkpoints(folder)
    if not found:
        return 0
    accelerator.load_state(str(found[-1]))
    return int(found[-1].name.removeprefix("step-"))


def save_weights(network: torch.nn.Module, path: Path, facts: dict[str, str] | None = None) -> None:
    """The network's weights and buffers as safetensors, with `facts` about them in its header."""
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    replace_atomically(path, lambda unfinished: save_file(weights, unfinished, facts))


def weights_facts(path: Path) -> dict[str, str]:
    """What `save_weights` was told besides the weights."""
    with safe_open(path, framework="pt") as weights:
        return weights.metadata() or {}


def load_weights(network: torch.nn.Module, path: Path) -> None:
    """Into a network of the same shape. ValueError naming the first key that doesn't fit."""
    try:
        network.load_state_dict(load_file(path))
    except (RuntimeError, OSError) as error:
        raise ValueError(f"{path}: not the weights of this network: {str(error).splitlines()[-1].strip()}") from None
