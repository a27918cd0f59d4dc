"""The contract of a method: networks, heads and losses as one module, and all that training, testing and tables ask."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from dali_ops.views import View
from pipeline.batch import Batch, Modality
from pipeline.loading.derivations import views_in_use
from pipeline.loading.streams import Stream
from pipeline.losses.term import Parts
from pipeline.methods.players import Player, schedule_of
from pipeline.normalization import with_normalization
from pipeline.optimization import ParameterGroup, create_optimizer
from pipeline.parts import METHODS, PartOptions
from pipeline.settings import DEFAULT_NAME, Settings
from pipeline.settings_key import key

TRAIN = "train"  # the stream of batches of methods that have one
Source = Literal["authors' code", "paper", "reconstruction"]


@dataclass(frozen=True)
class Share:
    """One rank's place among those that share a global batch. identities: of the batch on each rank."""

    rank: int
    identities: tuple[int, ...]


class Method(nn.Module):
    """A method to train. A kind of method is a subclass in a file of its own, with a line in `pipeline.parts.METHODS`.

    It owns its networks and every loss that has parameters. Accelerate wraps the whole; a step is one call of it.
    """

    @dataclass(frozen=True)
    class Options(PartOptions):
        depends_on_length: ClassVar[bool] = False  # whether a step differs where `train.epochs` does
        name: str = key(
            DEFAULT_NAME,
            "of the method, as tables show it; a file that gives it starts without the parts of files before it",
        )
        source: Source | None = key(
            None, "what it follows: the authors' code, the paper where that says all, or a reconstruction from less"
        )
        published: str | None = key(None, "the method's name in the tables of the literature, if it has a row there")

    # what a discriminator's loss, by the name it is reported by, is where it can tell nothing
    chance: ClassVar[Mapping[str, float]] = {}

    # ---- made of a configuration

    @classmethod
    def build(cls, settings: Settings, identities: int, share: Share, weights: bool = True) -> Method:
        """Returns the untrained method for that many training identities.

        `weights` False leaves pre-trained weights out. Raises ValueError naming a key that is impossible.
        """
        raise NotImplementedError

    @classmethod
    def build_tested(cls, settings: Settings, identities: int, weights: bool = True) -> nn.Module:
        """Returns only the module that is `tested` of such a method: weights of a run are loaded into it."""
        raise NotImplementedError

    @classmethod
    def resolved(cls, settings: Settings, resumed: bool = False) -> Settings:
        """Returns the settings as a run keeps them: with what the backbone decides where they leave it open.

        Raises ValueError naming a key, where a training that isn't `resumed` should not begin with them.
        """
        return with_normalization(settings)

    @classmethod
    def views(cls, settings: Settings) -> dict[Modality, View]:
        """Returns what the loader makes of each modality in use. Raises ValueError naming the key."""
        return views_in_use(settings)

    @classmethod
    def streams(cls, settings: Settings) -> dict[str, Stream]:
        """Returns the streams of batches that it is trained on, by name."""
        return {TRAIN: Stream(settings)}

    # ---- trained

    def begin_step(self, step: int, steps_per_epoch: int) -> None:
        """Prepares for an optimizer step, counted from 0, on every rank alike: for methods that train in stages.

        What it does is a function of the step and of the state before it, so that a resumed training does the same.
        """

    def held_still(self, step: int, steps_per_epoch: int) -> Collection[nn.Parameter]:
        """Returns the trained parameters that an optimizer step leaves as they are; their gradients are dropped."""
        return ()

    def training_step(self, batch: Batch) -> Parts:
        """Returns scalars of this rank's share of a batch: "loss", to be minimized, first; then those to report."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> Parts:
        """Returns `training_step`: what wraps a module, for ranks or mixed precision, hooks into `forward` alone."""
        return self.training_step(batch)

    def parameter_groups(self, settings: Settings) -> list[ParameterGroup]:
        """Returns every trained parameter once, in named groups, each with its initial "lr"."""
        raise NotImplementedError

    def players(self, settings: Settings) -> list[Player]:
        """Returns the optimizers; one with the schedule of `optimizer` unless a method needs more."""
        optimizer = create_optimizer(self.parameter_groups(settings), settings.optimizer)
        return [Player("optimizer", optimizer, schedule_of(settings))]

    def pretrained_norms(self) -> list[nn.Module]:
        """Returns the batch-norm layers whose statistics come from pre-training: `train.norm=frozen` keeps them."""
        return []

    def pretrained_parameters(self) -> list[nn.Parameter]:
        """Returns the parameters that come from pre-training: `train.freeze_backbone_epochs` holds them still."""
        return []

    # ---- tested

    @property
    def tested(self) -> nn.Module:
        """The module that is tested, saved and averaged: (images, modality) -> `ReIDOutput`."""
        raise NotImplementedError

    def embed(self, images: torch.Tensor, modality: Sequence[int]) -> torch.Tensor:
        """Returns (B, D) float32 for retrieval, of images (B, 3, H, W), normalized; modality: of each, on the host."""
        return self.tested(images, modality).embedding

    # ---- shown

    @classmethod
    def shown_settings(cls, settings: Settings) -> Settings | None:
        """Returns the settings that the images of `shown` are loaded with; None: the method makes no images."""
        return None

    def shown(self, visible: torch.Tensor, infrared: torch.Tensor) -> dict[str, torch.Tensor]:
        """Returns rows of images by what they show, (n, 3, H, W) normalized, of n people in both modalities.

        Called in evaluation mode; it must change neither statistics nor the state of random numbers.
        """
        raise NotImplementedError

    def translate(self, images: torch.Tensor, modality: Modality, style: torch.Tensor | None = None) -> torch.Tensor:
        """Returns images (n, 3, H, W), normalized, as the other modality would show them; modality: theirs.

        style: (1, 3, H, W), an image of the other modality, for methods whose images have the style of one. Called in
        evaluation mode. Raises ValueError where the method can't, or misses the style that it needs.
        """
        raise ValueError("the run's method makes no images")

    @classmethod
    def label(cls, settings: Settings) -> str:
        """Returns what tables call the method."""
        return settings.method.name

    @classmethod
    def columns(cls, settings: Settings) -> dict[str, bool]:
        """Returns the ticks of the paper's table 4, by the names of `literature/ablation.csv`.

        Raises ValueError, which says what differs, for whatever isn't the paper's method or a part of it.
        """
        raise ValueError(f"{settings.method.name} is another method than that of table 4")


def method_of(settings: Settings) -> type[Method]:
    """Returns the kind of method that a configuration names."""
    return METHODS.find(settings.method.type)
