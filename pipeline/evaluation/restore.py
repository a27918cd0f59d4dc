"""From a run folder to its network: the one place where a trained network is built."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch
from accelerate import Accelerator
from safetensors import SafetensorError, safe_open

from pipeline.build import build_table, place_network
from pipeline.evaluation.features import Extractor, choose_extractor
from pipeline.methods.method import method_of
from pipeline.run.checkpoint import load_weights, weights_facts
from pipeline.run.folder import run_path, weights_path
from pipeline.settings import Settings


def load_extractor(
    settings: Settings, kept: Settings | None, index: pd.DataFrame | None, accelerator: Accelerator
) -> Extractor:
    """Returns the extractor that `settings.evaluation` asks for, of the network that `restore_network` returns."""
    return choose_extractor(settings, accelerator, lambda: restore_network(settings, kept, index, accelerator.device))


def restore_network(
    settings: Settings, kept: Settings | None, index: pd.DataFrame | None, device: torch.device
) -> torch.nn.Module:
    """Returns the network of the run `kept`, or without one the network that a training would start with.

    Either is the module that the method calls `tested`, with a class for each training identity; `index` says how many
    these are where there is no run. Raises ValueError where the stored weights aren't those of such a network.
    """
    if kept is None:
        assert index is not None, "without a run the data set says how many identities there are"
        network = method_of(settings).build_tested(settings, len(build_table(settings, index).identities))
    else:
        file = weights_path(run_path(kept))
        network = method_of(settings).build_tested(settings, stored_identities(file), weights=False)
        load_weights(network, file)
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
