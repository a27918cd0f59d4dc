"""Facts of the network that is evaluated: the header of its weights, and columns of every row of results."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from pipeline.recipe import config_hash
from pipeline.run.checkpoint import save_weights, weights_facts
from pipeline.run.chosen import BEST
from pipeline.run.provenance import UNTRAINED, TrainingFacts, older_facts
from pipeline.settings import Selection, Settings


@dataclass(frozen=True)
class ModelInfo:
    """Facts of the network that is evaluated, or of raw pixels.

    config           hash of the configuration it was trained with
    epoch            epochs trained, a fraction where a checkpoint is of the middle of one
    replaced_images  number of training images that couldn't be decoded and were replaced by others
    recipe           hash of the configuration without the seed; None: that of the settings it is evaluated with
    training         what its training really used
    selection        which weights of it these are: `ChosenWeights.selection`
    step             optimizer steps trained; None: not known, of an older version
    validation       what a validation of them gave, as `mAP 33.0`; nothing where none was made then
    ended_early      whether `validation.patience` ended the training with them
    """

    config: str
    epoch: float = 0
    replaced_images: int = 0
    recipe: str | None = None
    training: TrainingFacts = UNTRAINED
    selection: str = "last"
    step: int | None = None
    validation: str = ""
    ended_early: bool = False

    def save(self, network: torch.nn.Module, path: Path, identities: int) -> None:
        """Writes the weights of a network of so many training identities, with the facts of it in their header."""
        header = {"config": self.config, "epoch": str(self.epoch), "replaced_images": str(self.replaced_images)}
        header |= {"identities": str(identities), "training": self.training.to_json(), "validation": self.validation}
        header |= {"ended_early": "yes"} if self.ended_early else {}
        save_weights(network, path, header | ({} if self.step is None else {"step": str(self.step)}))

    @classmethod
    def load(cls, path: Path, kept: Settings, selection: str = "last") -> ModelInfo:
        """Returns the facts of the file of weights of a run that was trained with the settings `kept`.

        Raises ValueError for weights without the header that `save` writes.
        """
        header = weights_facts(path)
        try:
            training = TrainingFacts.from_json(header["training"]) if "training" in header else None
            config, epoch, replaced = header["config"], whole(float(header["epoch"])), int(header["replaced_images"])
            step = int(header["step"]) if "step" in header else None
        except (KeyError, ValueError) as error:
            raise ValueError(f"{path}: not the weights of a trained network: {error}") from None
        if selection == BEST:  # a training that went on since may have found none better
            config = hash_of_weights(kept, selection)
        recipe, training = recipe_hash(kept, selection), training or older_facts(path.parent, kept)
        return cls(config, epoch, replaced, recipe, training, selection, step, header.get("validation", ""))

    @classmethod
    def untrained(cls, settings: Settings, network: torch.nn.Module | None) -> ModelInfo:
        """Returns the facts of the network that a training would start with; `network` is None for raw pixels."""
        if network is None:
            return cls(config_hash(settings))
        return cls(config_hash(settings), training=replace(UNTRAINED, weights=str(network.origin)))


def recipe_hash(settings: Settings, selection: str = "last") -> str:
    """Returns the hash of the configuration without seed and RegDB's split: trainings that share it are averaged."""
    return hash_of_weights(replace(settings, seed=0, data=replace(settings.data, trial=1)), selection)


def hash_of_weights(settings: Settings, selection: str) -> str:
    """Returns the hash of the configuration as the selected weights depend on it, whichever the run's own tests are of.

    Weights of the end don't depend on how was validated, unless it could end the training.
    """
    chosen: Selection = "best" if selection == BEST else "last"
    return config_hash(replace(settings, validation=replace(settings.validation, selection=chosen)))


def epochs_of(step: int, steps_per_epoch: int) -> float:
    """Returns the epochs that so many steps are, an int where they are whole."""
    return whole(step / steps_per_epoch)


def whole(number: float) -> float:
    return int(number) if number == int(number) else number
