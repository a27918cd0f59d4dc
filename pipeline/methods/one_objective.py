"""One network, one objective: the kind of method that combines stems, inserts, heads and loss terms."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn

from pipeline.batch import Batch
from pipeline.loading.derivations import derivations, modalities_in_use
from pipeline.losses.objective import Objective, build_objective
from pipeline.losses.term import FEATURES, LossContext, Parts, Rows
from pipeline.methods.method import Method, Share
from pipeline.methods.table_4 import ticks
from pipeline.models.backbone import create_backbone
from pipeline.models.heads import Feature
from pipeline.models.inserts import put_inserts
from pipeline.models.parameter_groups import network_groups, never_decayed, split_by_decay
from pipeline.models.pooling import choose_pooling, pooling_for, pooling_problem
from pipeline.models.reid import ReIDNetwork
from pipeline.models.timm_model import Backbone
from pipeline.models.weights import Source, find_weights, load_run
from pipeline.normalization import normalization_of
from pipeline.optimization import ParameterGroup
from pipeline.precision import wide
from pipeline.settings import Settings
from pipeline.settings_key import key

log = logging.getLogger("pipeline")

ARGUMENTS = re.compile(r"[a-z_]+(\.\w+)*(, [a-z_]+)*")  # how errors about arguments begin


class OneObjective(Method):
    """`network` is tested; `objective` has the loss terms and their parameters."""

    @dataclass(frozen=True)
    class Options(Method.Options):
        mining: Literal["global", "local"] = key(
            "global", "terms that compare rows get those of all ranks, or each rank's own, without an exchange"
        )

    def __init__(self, network: ReIDNetwork, objective: Objective) -> None:
        super().__init__()
        self.network, self.objective = network, objective

    @classmethod
    def build(cls, settings: Settings, identities: int, share: Share, weights: bool = True) -> OneObjective:
        network = build_network(settings, identities, weights)
        context = LossContext(tuple(modalities_in_use(settings)), identities, network.widths, network.embedding_widths)
        mining = settings.method.mining
        objective = build_objective(settings.losses, context, mining, share.identities, share.rank)
        unread = [name for name in network.widths if not any(objective.reads(name, what) for what in FEATURES)]
        if unread:  # it would stay as random as it began, in a feature that is tested
            raise ValueError(
                f"losses: none looks at the feature {unread[0]}: add it to the features of one, or drop its head"
            )
        for name in network.embedding_widths:  # likewise a layer between the pooled feature and its embedding
            if not any(objective.reads(name, what) for what in ("embedding", "logits")):
                raise ValueError(f"heads.{name}: no loss looks at what its layer makes; give it none: connected=false")
        network.freeze_unread(objective.reads)
        return cls(network, objective)

    @classmethod
    def build_tested(cls, settings: Settings, identities: int, weights: bool = True) -> ReIDNetwork:
        return build_network(settings, identities, weights)

    @classmethod
    def resolved(cls, settings: Settings, resumed: bool = False) -> Settings:
        with torch.random.fork_rng(devices=[]), keys_named():
            backbone = build_backbone(settings, weights=False)
            kind = choose_pooling(backbone, settings.model.pooling)
            problem = pooling_problem(backbone, kind)
            if problem and not resumed:
                raise ValueError(problem)
        settings = super().resolved(settings, resumed)
        return replace(settings, model=replace(settings.model, pooling=kind))

    def begin_step(self, step: int, steps_per_epoch: int) -> None:
        for term in self.objective.terms.values():
            term.begin_step(step)

    def training_step(self, batch: Batch) -> Parts:
        output = self.network(batch.images, batch.modality)
        # features are compared in float32 or wider, whatever the products before were computed in
        with torch.autocast(batch.images.device.type, enabled=False):
            return self.objective({name: rows(feature, batch) for name, feature in output.features.items()})

    def parameter_groups(self, settings: Settings) -> list[ParameterGroup]:
        optimizer = settings.optimizer
        groups = network_groups(self.network, optimizer)
        for name, term in self.objective.terms.items():
            groups.append({"name": f"losses.{name}", **term.parameter_group(optimizer.lr)})
        if not optimizer.decay_norm_bias:
            groups = split_by_decay(groups, never_decayed(self.named_parameters(), self.network))
        return [group for group in groups if group["params"]]

    def pretrained_parameters(self) -> list[nn.Parameter]:
        return [parameter for _, parameter in self.network.pretrained_parameters()]

    def pretrained_norms(self) -> list[nn.Module]:
        return self.network.pretrained_norms()

    @property
    def tested(self) -> nn.Module:
        return self.network

    @classmethod
    def columns(cls, settings: Settings) -> dict[str, bool]:
        return ticks(settings)


def rows(feature: Feature, batch: Batch) -> Rows:
    """Returns what loss terms may read of a feature of a batch."""
    parts = {what: wide(part) for what, part in feature._asdict().items()}
    return Rows(parts | {"camera": batch.camera}, batch.label, batch.modality)


def build_network(settings: Settings, identities: int, weights: bool = True) -> ReIDNetwork:
    """Returns the untrained network of a configuration, for that many training identities.

    `weights` False leaves out the pre-trained weights, for a network whose own weights are loaded next. Logs what was
    taken of `model.weights`. Raises ValueError or FileNotFoundError naming a key that is impossible.
    """
    model = settings.model
    learned = [modality for modality, stages in derivations(settings).items() if stages is None]
    with keys_named():
        backbone = build_backbone(settings, weights)
        pooling = pooling_for(backbone, model.pooling, model.pool_power, model.pool_power_trained)
        problem = pooling_problem(backbone, pooling.kind)
        if problem:  # of a run of before it was refused
            log.warning(f"model.{problem}")
        put_inserts(backbone, settings.inserts, settings.augment.height, settings.augment.width)
        network = ReIDNetwork(
            backbone=backbone,
            modalities=modalities_in_use(settings),
            stems=model.stems,
            stem_depth=model.stem_depth,
            gray=model.input == "gray",
            identities=identities,
            heads=settings.heads,
            pooling=pooling,
            learned_derivations=learned,
        )
        if weights and model.weights is not None:
            complete(network, find_weights(model.weights), settings)
        return network


def complete(network: ReIDNetwork, source: Source, settings: Settings) -> None:
    """Loads what a run has beyond the backbone, in place, and logs what was taken of a run or a file.

    A file doesn't say what images it expects: what they are normalized by is logged too.
    """
    taken = load_run(network, network.backbone, source) if source.run else network.backbone.taken
    assert taken is not None  # `create_backbone` has loaded it
    first, second = taken.lines()
    log.info(f"model.weights: {first}")
    log.info(second)
    if source.run is None:
        by = normalization_of(settings)
        log.info(f"images are normalized by the mean {by.mean} and deviation {by.std}: augment.mean, augment.std")


def build_backbone(settings: Settings, weights: bool) -> Backbone:
    """Returns the backbone of a configuration without its inserts, with pre-trained weights or without."""
    model = settings.model
    return create_backbone(
        model.backbone,
        height=settings.augment.height,
        width=settings.augment.width,
        pretrained=model.pretrained and weights,
        weights=model.weights if weights else None,
        last_stride=model.last_stride,
        ibn=model.ibn,
        drop_path=model.drop_path,
        kwargs=model.kwargs,
        grad_checkpointing=model.grad_checkpointing,
    )


@contextlib.contextmanager
def keys_named() -> Iterator[None]:
    """Turns the argument of a network that an error names into the key of a configuration."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        argument, _, reason = str(error).partition(": ")
        if not ARGUMENTS.fullmatch(argument):
            raise
        group = "augment." if argument == "height, width" else "model."
        names = argument.split(", ") if not argument.startswith(("heads", "inserts")) else []
        keys = ", ".join(f"{group}{name}" for name in names) or argument
        raise type(error)(f"{keys}: {reason}") from error.__cause__
