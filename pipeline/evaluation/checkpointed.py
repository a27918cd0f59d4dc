"""The method of a checkpoint and what is known of it, read from Accelerate's files without a training.

A checkpoint holds the whole method, as Accelerate wrapped it, and what was registered by `training.prepare`: the moving
average of the weights where there is one, then the count of replaced images.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.utils import ModelEmaV3

from pipeline.evaluation.model_info import ModelInfo, epochs_of, hash_of_weights, recipe_hash
from pipeline.loading.replacement import ReplacedCount
from pipeline.loading.sampling import steps_per_epoch
from pipeline.methods.method import Method, Share, method_of
from pipeline.run.checkpoint import step_of
from pipeline.run.chosen import ChosenWeights
from pipeline.run.folder import kept_facts
from pipeline.run.training_data import TrainingData, read_training_data
from pipeline.settings import Settings

WRAPPED = "module."  # how names of tensors begin in a checkpoint of several ranks


def checkpointed_network(settings: Settings, kept: Settings, checkpoint: Path) -> torch.nn.Module:
    """Returns the tested network of `checkpointed_method`."""
    return checkpointed_method(settings, kept, checkpoint).tested


def checkpointed_method(settings: Settings, kept: Settings, checkpoint: Path, averaged: bool = True) -> Method:
    """Returns the whole method of an intact checkpoint of the run `kept`, on the CPU.

    averaged: its tested network has the moving average of the weights, if there is one; no other network has one.

    Raises ValueError where the checkpoint isn't of such a method.
    """
    identities = len(trained_data(checkpoint).identities)
    share = Share(0, (settings.batch.ids_per_batch,))
    method = method_of(settings).build(settings, identities, share, weights=False)
    try:
        tensors = load_file(checkpoint / "model.safetensors")
        method.load_state_dict({name.removeprefix(WRAPPED): tensor for name, tensor in tensors.items()})
        if kept.train.ema and averaged:
            average = ModelEmaV3(method.tested)
            average.load_state_dict(registered(checkpoint, 0))
            method.tested.load_state_dict(average.module.state_dict())
        return method
    except (RuntimeError, OSError, SafetensorError) as error:
        # torch lists every tensor; the first few tell which network it was
        reason = textwrap.shorten(str(error).splitlines()[-1], 160, placeholder=" ...")
        raise ValueError(f"{checkpoint}: not the weights of this network: {reason}") from None


def checkpoint_info(chosen: ChosenWeights, kept: Settings) -> ModelInfo:
    """Returns the facts of the network of a checkpoint of the run `kept`."""
    step, folder = step_of(chosen.path), run_of(chosen.path)
    replaced = ReplacedCount()
    replaced.load_state_dict(registered(chosen.path, 1 if kept.train.ema else 0))
    epoch = epochs_of(step, steps_per_epoch(trained_data(chosen.path).images.values(), kept))
    training, config = kept_facts(folder).until(step), hash_of_weights(kept, chosen.selection)
    return ModelInfo(config, epoch, replaced.count, recipe_hash(kept), training, chosen.selection, step)


def registered(checkpoint: Path, place: int) -> dict[str, Any]:
    """Returns the state that was registered for checkpointing in that place."""
    return torch.load(checkpoint / f"custom_checkpoint_{place}.pkl", map_location="cpu", weights_only=True)


def trained_data(checkpoint: Path) -> TrainingData:
    found = read_training_data(run_of(checkpoint))
    if found is None:
        raise ValueError(f"{checkpoint}: is of a version that didn't keep training_data.json; resume the run instead")
    return found


def run_of(checkpoint: Path) -> Path:
    return checkpoint.parent.parent
