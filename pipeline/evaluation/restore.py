"""From a run folder to its network: the one place where a trained network is built."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch
from safetensors import SafetensorError, safe_open

from pipeline.build import build_network, build_table, place_network
from pipeline.models.reid import ReIDNetwork
from pipeline.run.checkpoint import load_weights
from pipeline.run.folder import run_path, weights_path
from pipeline.settings import Settings


def restore_network(
    settings: Settings, kept: Settings | None, index: pd.DataFrame, device: torch.device
) -> ReIDNetwork:
    """Returns the network of the run `kept`, or without one the network that a training would start with.

    Either has a class for each training identity. Raises ValueError where the stored weights aren't those of such a
    network.
    """
    if kept is None:
        network = build_network(settings, len(build_table(settings, index).identities))
    else:
        file = weights_path(run_path(kept))
        network = build_network(settings, stored_identities(file), weights=False)
        load_weights(network, file)
    return place_network(network, settings, device)


def stored_identities(file: Path) -> int:
    """Returns the number of identities a network was trained on, which may not be that of the data set by now."""
    try:
        with safe_open(file, framework="pt") as weights:
            return weights.get_slice("classifier.weight").get_shape()[0]
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file}: not the weights of a trained network: {error}") from None
