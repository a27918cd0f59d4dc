"""From a configuration to the re-identification network of a method, and to its backbone alone."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from dataclasses import replace

import torch

from pipeline.loading.derivations import derivations, modalities_in_use
from pipeline.models.backbone import create_backbone
from pipeline.models.inserts import put_inserts
from pipeline.models.pooling import choose_pooling, pooling_for, pooling_problem
from pipeline.models.reid import ReIDNetwork
from pipeline.models.stems import stem_keys, stems_by_base
from pipeline.models.taken import Taken
from pipeline.models.timm_model import Backbone
from pipeline.models.weights import Source, find_weights, load_run
from pipeline.normalization import normalization_of
from pipeline.settings import Settings

log = logging.getLogger("pipeline")

ARGUMENTS = re.compile(r"[a-z_]+(\.\w+)*(, [a-z_]+)*")  # how errors about arguments begin


def build_network(settings: Settings, identities: int, weights: bool = True) -> ReIDNetwork:
    """Returns the untrained network of a configuration, for that many training identities.

    `weights` False leaves out the pre-trained weights, for a network whose own weights are loaded next. Logs what was
    taken of `model.weights`. Raises ValueError or FileNotFoundError naming a key that is impossible.
    """
    model = settings.model
    check_stems(settings)
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
            derivation=settings.derive.learned,
            mean_stems=settings.evaluation.stems == "mean",
        )
        if weights and model.weights is not None:
            complete(network, find_weights(model.weights), settings)
        return network


def check_stems(settings: Settings) -> None:
    """Raises ValueError where `evaluation.stems` asks for a mean over stems of which there is one only, or whose
    images the network makes."""
    if settings.evaluation.stems == "own":
        return
    stems = stems_by_base(stem_keys(settings.model.stems, modalities_in_use(settings)))
    if all(len(own) == 1 for own in stems.values()):
        found = f"model.stems={settings.model.stems}, batch.modalities={', '.join(settings.batch.modalities)}"
        raise ValueError(
            f"evaluation.stems: mean is over an image's stem and its derivative's; found one only: {found}"
        )
    learned = [f"derive.{modality.base.key}" for modality, made in derivations(settings).items() if made is None]
    if learned:
        raise ValueError(
            f"evaluation.stems: mean is over stems that see images as they are; found {learned[0]}=learned"
        )


def with_pooling(settings: Settings, resumed: bool = False) -> Settings:
    """Returns the settings with the pooling that the backbone decides where `model.pooling` leaves it open.

    Raises ValueError where a training that isn't `resumed` should not begin with that.
    """
    with torch.random.fork_rng(devices=[]), keys_named():
        backbone = build_backbone(settings, weights=False)
        kind = choose_pooling(backbone, settings.model.pooling)
        problem = pooling_problem(backbone, kind)
        if problem and not resumed:
            raise ValueError(problem)
    return replace(settings, model=replace(settings.model, pooling=kind))


def complete(network: ReIDNetwork, source: Source, settings: Settings) -> None:
    """Loads what a run has beyond the backbone, in place, and logs what was taken of a run or a file.

    A file doesn't say what images it expects: what they are normalized by is logged too.
    """
    taken = load_run(network, network.backbone, source) if source.run else network.backbone.taken
    report(taken, source, settings)


def report(taken: Taken | None, source: Source, settings: Settings) -> None:
    """Logs what was taken of a run or a file."""
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
        last_stage=model.last_stage,
        ibn=model.ibn,
        drop_path=model.drop_path,
        kwargs=model.kwargs,
        grad_checkpointing=model.grad_checkpointing,
        patch_stride=model.patch_stride,
    )


def build_reported_backbone(settings: Settings, weights: bool) -> Backbone:
    """Returns `build_backbone` for methods with networks of their own, which take a run's backbone alone; logs what was
    taken of `model.weights`."""
    backbone = build_backbone(settings, weights)
    if weights and settings.model.weights is not None:
        source = find_weights(settings.model.weights)
        report(backbone.taken, source, settings)
        if source.run:
            backbone.origin = backbone.origin.replace("file", source.name, 1)
    return backbone


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
