"""Facts of the network that is evaluated: the header of its weights, and columns of every row of results."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from pipeline.config import config_hash
from pipeline.run.checkpoint import save_weights, weights_facts
from pipeline.run.provenance import UNTRAINED, TrainingFacts, older_facts
from pipeline.settings import Settings


@dataclass(frozen=True)
class ModelInfo:
    """Facts of the network that is evaluated, or of raw pixels.

    config           hash of the configuration it was trained with
    epoch            epochs trained
    replaced_images  number of training images that couldn't be decoded and were replaced by others
    recipe           hash of the configuration without the seed; None: that of the settings it is evaluated with
    training         what its training really used
    """

    config: str
    epoch: int = 0
    replaced_images: int = 0
    recipe: str | None = None
    training: TrainingFacts = UNTRAINED

    def save(self, network: torch.nn.Module, path: Path, identities: int) -> None:
        """Writes the weights of a network of so many training identities, with the facts of it in their header."""
        header = {"config": self.config, "epoch": str(self.epoch), "replaced_images": str(self.replaced_images)}
        save_weights(network, path, header | {"identities": str(identities), "training": self.training.to_json()})

    @classmethod
    def load(cls, path: Path, kept: Settings) -> ModelInfo:
        """Returns the facts of the weights of a run that was trained with the settings `kept`.

        Raises ValueError for weights without the header that `save` writes.
        """
        header = weights_facts(path)
        try:
            training = TrainingFacts.from_json(header["training"]) if "training" in header else None
            config, epoch, replaced = header["config"], int(header["epoch"]), int(header["replaced_images"])
        except (KeyError, ValueError) as error:
            raise ValueError(f"{path}: not the weights of a trained network: {error}") from None
        return cls(config, epoch, replaced, recipe_hash(kept), training or older_facts(path.parent, kept))

    @classmethod
    def untrained(cls, settings: Settings, network: torch.nn.Module | None) -> ModelInfo:
        """Returns the facts of the network that a training would start with; `network` is None for raw pixels."""
        if network is None:
            return cls(config_hash(settings))
        return cls(config_hash(settings), training=replace(UNTRAINED, weights=str(network.origin)))


def recipe_hash(settings: Settings) -> str:
    """Returns the hash of the configuration without seed and RegDB's split: trainings that share it are averaged."""
    return config_hash(replace(settings, seed=0, data=replace(settings.data, trial=1)))
