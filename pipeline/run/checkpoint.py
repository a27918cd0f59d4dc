"""Checkpoints that are there whole or not at all, and are used only if they are still as they were written.

A checkpoint is written to a folder with another name, fsynced, then renamed: a run killed at any moment finds the
newest complete one. Its manifest.json holds the size and the SHA-256 of each file, for disks lose and change bits.
Checkpoints are ordered by their step, never by their files' times: the clocks of nodes differ.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import textwrap
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from pipeline import former
from pipeline.distributed import on_every_rank, on_first_rank
from pipeline.files import UNFINISHED, force_to_disc, replace_atomically

MANIFEST = "manifest.json"
DAMAGED = "damaged-"  # how the names of checkpoints begin that were set aside

log = logging.getLogger("pipeline")


def save_checkpoint(accelerator: Accelerator, folder: Path, step: int, keep: int) -> None:
    """Saves the training as it is after `step` optimizer steps; keeps the newest `keep`. Called by all ranks.

    Weights, optimizer, gradient scaler, random states of every rank and what was registered for checkpointing.
    Raises OSError on all ranks together where one can't write; the checkpoints before are then untouched.
    """
    unfinished = folder / f"{UNFINISHED}{step:08d}"
    try:
        on_first_rank(accelerator, lambda: clear_leftovers(folder))
        on_every_rank(accelerator, lambda: accelerator.save_state(str(unfinished)))
        on_first_rank(accelerator, lambda: complete(unfinished, folder / f"step-{step:08d}", keep))
    except (OSError, ValueError) as error:
        free = shutil.disk_usage(folder).free if folder.is_dir() else 0
        if accelerator.is_main_process:
            shutil.rmtree(unfinished, ignore_errors=True)
        before = checkpoints(folder)
        raise OSError(
            f"{folder}: the checkpoint of step {step} could not be written: {error}; {free / 1e6:.0f} MB were free. "
            + (f"The one before, {before[-1].name}, is intact" if before else "There is none before it")
        ) from None


def clear_leftovers(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(leftover)


def complete(unfinished: Path, finished: Path, keep: int) -> None:
    """Gives a written checkpoint its manifest and its name; removes all but the newest `keep` next to it."""
    entries = {file.name: fingerprint(file) for file in sorted(unfinished.iterdir())}
    (unfinished / MANIFEST).write_text(json.dumps(entries, indent=2) + "\n")
    for file in unfinished.iterdir():
        force_to_disc(file)
    force_to_disc(unfinished)
    os.replace(unfinished, finished)
    force_to_disc(finished.parent)
    for old in checkpoints(finished.parent)[:-keep]:
        going = old.with_name(f"{UNFINISHED}{old.name}")  # so that a kill leaves no half of it under its own name
        os.rename(old, going)
        shutil.rmtree(going)


def fingerprint(file: Path) -> dict[str, int | str]:
    with open(file, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"bytes": file.stat().st_size, "sha256": digest}


def checkpoints(folder: Path) -> list[Path]:
    """Returns the checkpoints that were written to their end, the oldest first."""
    return sorted(folder.glob("step-*"))


def newest_step(folder: Path) -> int:
    """Returns the step of the newest checkpoint, damaged or not; 0 where there is none."""
    found = checkpoints(folder)
    return step_of(found[-1]) if found else 0


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))


def load_newest(accelerator: Accelerator, folder: Path) -> int:
    """Restores the newest undamaged checkpoint; returns its step, 0 where there is none. Called by all ranks.

    The first rank chooses for all. Raises ValueError where there are checkpoints and each is damaged, or the newest is
    of another network, as one of an older run over data that has changed since.
    """
    newest = on_first_rank(accelerator, lambda: newest_undamaged(folder))
    if newest is None:
        return 0
    try:
        accelerator.load_state(str(newest))
    except RuntimeError as error:
        # torch lists every tensor; the first few tell which network it was
        reason = textwrap.shorten(str(error).splitlines()[-1], 160, placeholder=" ...")
        raise ValueError(f"{newest}: is not of this network, or not of as many identities: {reason}") from None
    return step_of(newest)


def newest_undamaged(folder: Path) -> Path | None:
    """Returns the newest checkpoint that is as it was written.

    Newer ones, damaged, are set aside and the reason is logged. Raises ValueError where all are damaged.
    """
    reasons: dict[Path, str] = {}
    for candidate in reversed(checkpoints(folder)):
        reason = damage(candidate)
        if reason is None:
            for damaged, why in reasons.items():
                set_aside(damaged)
                log.warning(f"{damaged}: not used: {why}; resuming from {candidate.name}")
            return candidate
        reasons[candidate] = reason
    if reasons:
        (newest, reason), *others = reasons.items()
        raise ValueError(
            f"{newest}: {reason}" + (f", and {len(others)} older ones are damaged too" if others else "") + "; "
            f"restore one from a copy, or take {folder} away to start anew"
        )
    return None


def damage(checkpoint: Path) -> str | None:
    """Returns the first file of a checkpoint that isn't as its manifest says, and why; None if it is intact."""
    try:
        entries = json.loads((checkpoint / MANIFEST).read_text())
    except FileNotFoundError:
        return f"has no {MANIFEST}"
    except ValueError:
        return f"{MANIFEST} is damaged"
    except OSError as error:
        return f"{MANIFEST} can't be read: {error.strerror}"
    for name, expected in entries.items():
        try:
            found = fingerprint(checkpoint / name)
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} can't be read: {error.strerror}"
        if found["bytes"] != expected["bytes"]:
            return f"{name}: expected {expected['bytes']} bytes; found {found['bytes']}"
        if found != expected:
            return f"{name}: its SHA-256 is not the one it was written with"
    return None


def set_aside(damaged: Path) -> None:
    aside = damaged.with_name(f"{DAMAGED}{damaged.name}")
    shutil.rmtree(aside, ignore_errors=True)
    os.rename(damaged, aside)


def save_weights(network: torch.nn.Module, path: Path, facts: dict[str, str] | None = None) -> None:
    """Writes the network's weights and buffers as safetensors, with `facts` about them in its header."""
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    replace_atomically(path, lambda unfinished: save_file(weights, unfinished, facts))


def weights_facts(path: Path) -> dict[str, str]:
    """Returns the facts that `save_weights` wrote. Raises ValueError where the file isn't one of weights."""
    try:
        with safe_open(path, framework="pt") as weights:
            return weights.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: not the weights of a trained network: {error}") from None


def load_weights(network: torch.nn.Module, path: Path) -> None:
    """Loads weights into a network of the same shape. Raises ValueError naming the first key that doesn't fit."""
    try:
        network.load_state_dict({former.tensor_now(name): tensor for name, tensor in load_file(path).items()})
    except (RuntimeError, OSError) as error:
        raise ValueError(f"{path}: not the weights of this network: {str(error).splitlines()[-1].strip()}") from None
