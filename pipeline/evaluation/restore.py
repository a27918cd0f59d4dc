"""From a run folder to its network: the one place where a trained network is built."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from accelerate import Accelerator
from safetensors import SafetensorError, safe_open

from pipeline.build import build_table, place_network
from pipeline.distributed import on_first_rank
from pipeline.evaluation.checkpointed import checkpoint_info, checkpointed_network
from pipeline.evaluation.features import Extractor, choose_extractor
from pipeline.evaluation.hcml.learning import with_projection
from pipeline.evaluation.model_info import ModelInfo
from pipeline.methods.method import method_of
from pipeline.run.checkpoint import load_weights, weights_facts
from pipeline.run.chosen import ChosenWeights, choose_weights
from pipeline.run.folder import run_path
from pipeline.settings import Settings


@dataclass(frozen=True)
class TrainedWeights:
    """Weights to evaluate, of a run that was trained with the settings `kept`."""

    kept: Settings
    chosen: ChosenWeights

    def info(self) -> ModelInfo:
        """Returns the facts of these weights. Raises ValueError where they can't be read."""
        if self.chosen.is_checkpoint:
            return checkpoint_info(self.chosen, self.kept)
        return ModelInfo.load(self.chosen.path, self.kept, self.chosen.selection)

    def network(self, settings: Settings) -> torch.nn.Module:
        """Returns the network that `settings` describe with these weights, on the CPU.

        Raises ValueError where they aren't those of such a network.
        """
        if self.chosen.is_checkpoint:
            return checkpointed_network(settings, self.kept, self.chosen.path)
        file = self.chosen.path
        network = method_of(settings).build_tested(settings, stored_identities(file), weights=False)
        load_weights(network, file)
        return network


def choose_trained(
    kept: Settings | None, accelerator: Accelerator, checkpoint: str | None = None
) -> TrainedWeights | None:
    """Returns the weights that `choose_weights` chooses, on all ranks; None without a run. Called by all ranks."""
    if kept is None:
        return None
    return TrainedWeights(kept, on_first_rank(accelerator, lambda: choose_weights(run_path(kept), kept, checkpoint)))


def load_extractor(
    settings: Settings, trained: TrainedWeights | None, index: pd.DataFrame | None, accelerator: Accelerator
) -> Extractor:
    """Returns the extractor that `settings.evaluation` asks for, of the network that `restore_network` returns.

    Called by all ranks: a projection that the run hasn't learned yet is learned now.
    """
    restore = partial(restore_network, settings, trained, index, accelerator.device)
    extractor = choose_extractor(settings, accelerator, restore)
    if settings.evaluation.projection == "none":
        return extractor
    return with_projection(extractor, settings, trained.kept if trained else None, accelerator)


def restore_network(
    settings: Settings, trained: TrainedWeights | None, index: pd.DataFrame | None, device: torch.device
) -> torch.nn.Module:
    """Returns the trained network, or without one the network that a training would start with.

    Either is the module that the method calls `tested`, with a class for each training identity; `index` says how many
    these are where nothing is trained. Raises ValueError where the stored weights aren't those of such a network.
    """
    if trained is None:
        assert index is not None, "without a run the data set says how many identities there are"
        network = method_of(settings).build_tested(settings, len(build_table(settings, index).identities))
    else:
        network = trained.network(settings)
    return place_network(network, settings, device)


def stored_identities(file: Path) -> int:
    """Returns the number of identities a network was trained on, which may not be that of the data set by now.

    The header has it; files of versions before have one classifier.
    """
    kept = weights_facts(file).get("identities")
    if kept is not None and kept.isdecimal():
        return int(kept)
    try:
        with safe_open(file, framework="pt") as weights:
            return weights.get_slice("classifier.weight").get_shape()[0]
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file}: not the weights of a trained network: {error}") from None
