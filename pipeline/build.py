"""From settings to the index, the trials, the network and the loss: where names in a configuration become objects."""

from __future__ import annotations

import pandas as pd
import torch

from pipeline import protocols
from pipeline.batch import Modality
from pipeline.datasets import dataset_of
from pipeline.loading.derivations import derivations
from pipeline.loading.sampling import TrainingTable, identities_of_ranks, training_table
from pipeline.losses.total import TotalLoss
from pipeline.models.backbone import create_backbone
from pipeline.models.reid import ReIDNetwork
from pipeline.settings import DataSettings, Settings
from pipeline.training.objective import Objective


def build_index(data: DataSettings) -> pd.DataFrame:
    """Returns the index of the data set that the settings name; errors as of `DataSet.read_index`."""
    return dataset_of(data.dataset).read_index(data)


def training_rows(index: pd.DataFrame, data: DataSettings) -> pd.DataFrame:
    """The rows trained on, with their place in the whole index kept. ValueError where there are none."""
    rows = index[index["split"].isin(data.train_splits)]
    if rows.empty:
        raise ValueError(f"data.train_splits: no images in {', '.join(data.train_splits)} of {data.root}")
    return rows


def build_table(settings: Settings, index: pd.DataFrame) -> TrainingTable:
    """The images to train on, by label."""
    return training_table(training_rows(index, settings.data), settings.batch)


def build_trials(settings: Settings, index: pd.DataFrame) -> list[protocols.Trial]:
    """The test of the data set's protocol, as `settings.evaluation` wants it."""
    return dataset_of(settings.data.dataset).trials(index, settings.data, settings.evaluation)


def modalities_in_use(settings: Settings) -> list[Modality]:
    return sorted(Modality.from_name(name) for name in settings.batch.modalities)


def build_network(settings: Settings, identities: int, weights: bool = True) -> ReIDNetwork:
    """The untrained network of a configuration, for so many training identities.

    `weights=False` leaves out the pre-trained weights, for a network whose own weights are loaded next.
    """
    model = settings.model
    backbone = create_backbone(
        model.backbone,
        height=settings.augment.height,
        width=settings.augment.width,
        pretrained=model.pretrained and weights,
        weights=model.weights if weights else None,
        last_stride=model.last_stride,
    )
    network = ReIDNetwork(
        backbone=backbone,
        modalities=modalities_in_use(settings),
        stems=model.stems,
        identities=identities,
        pooling=model.pooling,
        pool_power=model.pool_power,
        learned_derivations=[modality for modality, stages in derivations(settings).items() if stages is None],
    )
    if settings.loss.identity == 0:
        for parameter in network.head_parameters():
            parameter.requires_grad_(False)  # without the identity loss nothing reaches neck and classifier
    return network


def place_network(network: ReIDNetwork, settings: Settings, device: torch.device) -> ReIDNetwork:
    """On the device and in the memory layout in which it is trained, so that it is tested by the same kernels."""
    layout = torch.channels_last if settings.train.channels_last else torch.contiguous_format
    return network.to(device).to(memory_format=layout)


def build_loss(settings: Settings) -> TotalLoss:
    loss = settings.loss
    intra = loss.intra_modalities
    return TotalLoss(
        modalities=modalities_in_use(settings),
        intra=None if intra is None else [Modality.from_name(name) for name in intra],
        cross=[modality_pair(names) for names in loss.cross_pairs],
        margin=loss.margin,
        reduction=loss.reduction,
        identity_weight=loss.identity,
        intra_weight=loss.intra,
        cross_weight=loss.cross,
        label_smoothing=loss.label_smoothing,
    )


def build_objective(settings: Settings, rank: int = 0, ranks: int = 1) -> Objective:
    """What one of the ranks minimises."""
    identities = identities_of_ranks(settings.batch.ids_per_batch, ranks)
    return Objective(build_loss(settings), settings.loss.mining, identities, rank)


def modality_pair(names: list[str]) -> tuple[Modality, Modality]:
    if len(names) != 2:
        raise ValueError(f"loss.cross_pairs: expected pairs of modalities; found {names}")
    return Modality.from_name(names[0]), Modality.from_name(names[1])
