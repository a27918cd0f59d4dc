"""Methods of several players: networks that are trained beside or against each other, each by losses of its own.

They learn to make images of one modality from images of the other, in stages, from batches of several sizes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, ClassVar, NamedTuple

import torch
from torch import nn

from pipeline.batch import CAPTURED, Batch
from pipeline.config import default_settings
from pipeline.loading.streams import Stream
from pipeline.losses.term import Parts
from pipeline.methods.method import Method, Share
from pipeline.methods.network import with_pooling
from pipeline.methods.players import Player, Players, schedule_of
from pipeline.optimization import ParameterGroup, create_optimizer
from pipeline.precision import wide
from pipeline.settings import Settings
from pipeline.settings_key import key

Batches = Mapping[str, Batch]
CAPTURED_NAMES = [modality.key for modality in CAPTURED]
REID, IMAGES = "reid", "images"  # streams of batches


@dataclass(frozen=True)
class ImageBatch:
    """The batches that networks of images are trained on; flipped and interpolated as `augment` says, nothing else."""

    ids_per_batch: int = key(4, "identities in a global batch of images to translate", min=2)
    images_per_modality: int = key(4, "captured images of an identity in it, per modality", min=1)
    height: int | None = key(None, "pixels; null: augment.height", min=16)
    width: int | None = key(None, "pixels; null: augment.width", min=16)


@dataclass(frozen=True)
class ImageOptimizer:
    """Adam, of generators and discriminators; the schedule is that of `optimizer`."""

    lr: float = key(2e-4, "learning rate of generators and discriminators", min=0)
    betas: tuple[float, float] = key((0.5, 0.999), "of Adam", min=0, max=0.99999)
    weight_decay: float = key(0.0, "L2", min=0)


class Pair(NamedTuple):
    """A batch of both captured modalities: row i of each shows the same person. images (n, 3, H, W), normalized."""

    visible: torch.Tensor
    infrared: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class Stage:
    """A part of a training: the streams it draws from, and a step of it.

    play  moves the players, given a batch of each of the streams, and returns scalars to report, detached
    """

    name: str
    streams: tuple[str, ...]
    play: Callable[[Batches, Players], Parts]


class Game(Method):
    """The base of such methods. A subclass gives its networks, its players and its stages, and shows what it makes."""

    @dataclass(frozen=True)
    class Options(Method.Options):
        stages: list[float] = key([1.0], "lengths of the stages, as parts of their sum", min=0)
        image_batch: ImageBatch = key(ImageBatch, "batches of generators and discriminators")
        image_optimizer: ImageOptimizer = key(ImageOptimizer, "of generators and discriminators")

        @property
        def depends_on_length(self) -> bool:  # type: ignore[override]
            return self.is_staged

        @property
        def is_staged(self) -> bool:
            """Whether there is more than one stage."""
            return sum(length > 0 for length in self.stages) > 1

    # keys that change nothing of such a method, unless a subclass heeds them
    unheeded: ClassVar[tuple[str, ...]] = (
        "optimizer.layer_decay",
        "optimizer.decay_norm_bias",
        "optimizer.derivation_lr_mult",
    )

    def __init__(self, settings: Settings, identities: int, weights: bool) -> None:
        """Makes the untrained networks for that many training identities; the stages follow `method.stages`."""
        super().__init__()
        self.lengths: list[float] = settings.method.stages

    # ---- made of a configuration

    @classmethod
    def build(cls, settings: Settings, identities: int, share: Share, weights: bool = True) -> Game:
        game = cls(settings, identities, weights)
        check_stages(game.lengths, [stage.name for stage in game.stages()])
        return game

    @classmethod
    def resolved(cls, settings: Settings, resumed: bool = False) -> Settings:
        check_settings(settings, cls.unheeded)
        return with_pooling(super().resolved(settings, resumed), resumed)

    @classmethod
    def streams(cls, settings: Settings) -> dict[str, Stream]:
        return {REID: Stream(settings), IMAGES: Stream(with_image_batch(settings), tag=1, key="method.image_batch")}

    # ---- trained

    @abstractmethod
    def stages(self) -> Sequence[Stage]:
        """Returns the stages in their order; `method.stages` gives their lengths."""

    def stage_at(self, step: int, steps: int) -> Stage:
        """Returns the stage of a step, counted from 0, of a training of so many."""
        total = sum(self.lengths)
        ends = [round(steps * end / total) for end in accumulate(self.lengths)]
        return next(stage for stage, end in zip(self.stages(), ends, strict=True) if step < end)

    def training_step(self, batch: Batch) -> Parts:
        raise TypeError("a game is trained by the steps of its stages")

    # ---- shown

    @classmethod
    def shown_settings(cls, settings: Settings) -> Settings:
        return with_image_batch(settings)


def pair_of(batch: Batch) -> Pair:
    """Returns a batch of both captured modalities, in float32 or wider; the loader has aligned its rows by identity."""
    visible, infrared = wide(batch.images).chunk(2)
    return Pair(visible, infrared, batch.label[: len(visible)])


def detached(**parts: torch.Tensor) -> Parts:
    """Returns scalars to report, without their graphs."""
    return {name: value.detach() for name, value in parts.items()}


def with_image_batch(settings: Settings) -> Settings:
    """Returns the settings of the stream that networks of images are trained on."""
    wanted, augment = settings.method.image_batch, settings.augment
    batch = replace(settings.batch, ids_per_batch=wanted.ids_per_batch, images_per_modality=wanted.images_per_modality)
    height, width = wanted.height or augment.height, wanted.width or augment.width
    augment = replace(augment.whole(), height=height, width=width)
    return replace(settings, batch=batch, augment=augment)


def image_player(name: str, networks: Sequence[nn.Module], settings: Settings) -> Player:
    """Returns the player of generators or discriminators."""
    options = settings.method.image_optimizer
    optimizer = torch.optim.Adam(
        [{"name": name, "params": trained(networks), "initial_lr": options.lr}],
        lr=options.lr,
        betas=options.betas,
        weight_decay=options.weight_decay,
        fused=True,
    )
    return Player(name, optimizer, schedule_of(settings))


def reid_player(name: str, backbone: nn.Module, heads: Sequence[nn.Module], settings: Settings) -> Player:
    """Returns the player of a re-identification network, with the optimizer and the rates of `optimizer`."""
    optimizer = settings.optimizer
    rates = {"backbone": ([backbone], optimizer.backbone_lr_mult), "heads": (heads, optimizer.heads_lr_mult)}
    groups = [{"name": group, "params": trained(of), "lr": optimizer.lr * rate} for group, (of, rate) in rates.items()]
    return new_player(name, groups, settings)


def new_player(name: str, groups: list[ParameterGroup], settings: Settings) -> Player:
    """Returns a player with the optimizer of `optimizer`; its groups have a "name", "params" and a "lr" each."""
    return Player(
        name,
        create_optimizer([group for group in groups if group["params"]], settings.optimizer),
        schedule_of(settings),
    )


def trained(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    return [parameter for module in modules for parameter in module.parameters() if parameter.requires_grad]


def check_settings(settings: Settings, unheeded: Collection[str]) -> None:
    """Raises ValueError naming a key that games can't have otherwise, or one of those that they don't heed."""
    name, defaults = settings.method.name, default_settings()
    wanted: dict[str, tuple[Any, Any]] = {
        "batch.modalities": (settings.batch.modalities, CAPTURED_NAMES),
        "train.grad_accum_steps": (settings.train.grad_accum_steps, 1),
        "train.compile": (settings.train.compile, False),
        "model.grad_checkpointing": (settings.model.grad_checkpointing, False),
        "model.input": (settings.model.input, defaults.model.input),
        "model.stems": (settings.model.stems, "shared"),
        "evaluation.fusion": (settings.evaluation.fusion, "none"),
        "evaluation.stems": (settings.evaluation.stems, "own"),
    }
    for full in unheeded:
        group, _, key_ = full.partition(".")
        wanted[full] = getattr(getattr(settings, group), key_), getattr(getattr(defaults, group), key_)
    if settings.method.is_staged:  # a stage that learns no identities would be judged by them
        wanted["validation.patience"] = settings.validation.patience, None
        wanted["validation.selection"] = settings.validation.selection, "last"
    for full, (found, expected) in wanted.items():
        if found != expected:
            expected = "null" if expected is None else expected
            raise ValueError(
                f"{full}: expected {expected} for the method {name}, which has several players; found {found}"
            )
    for group in ("losses", "inserts"):
        if getattr(settings, group):
            raise ValueError(
                f"{group}.{next(iter(getattr(settings, group)))}: the method {name} has its own; leave it out"
            )
    if settings.heads != defaults.heads:
        raise ValueError(f"heads: the method {name} has its own; leave them out")
    if settings.train.precision == "fp16":
        raise ValueError(
            f"train.precision: the method {name} has several optimizers, fp16 is for one; use bf16 or fp32"
        )


def check_stages(lengths: Sequence[float], names: Sequence[str]) -> None:
    """Raises ValueError where there isn't a length for each stage, or none is above 0."""
    if len(lengths) != len(names) or not sum(lengths):
        raise ValueError(f"method.stages: expected the lengths of {', '.join(names)}, one above 0; found {lengths}")
