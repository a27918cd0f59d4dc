"""Features of test images, by row of the index: every rank extracts its share, every image is decoded once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator

from dali_ops.derive.stages import Stage
from pipeline.batch import Modality
from pipeline.evaluation.precision import full_float32
from pipeline.loading.batches import evaluation_batches
from pipeline.loading.derivations import derivations
from pipeline.loading.pictures import open_pictures
from pipeline.models.reid import ReIDNetwork
from pipeline.settings import Settings

# (images of `evaluation_batches` of b pictures, modality) -> features (b, D) float32
Extractor = Callable[[torch.Tensor, Modality], torch.Tensor]

PIXELS_SHAPE = (32, 16)  # height and width of the grey picture that the baseline compares


def network_extractor(network: ReIDNetwork, settings: Settings, accelerator: Accelerator) -> Extractor:
    """Features of a trained (or untrained) network, as `settings.evaluation` wants them.

    ValueError where it can't have them: see `fused_derivatives`.
    """
    network.eval()
    derivative_of = fused_derivatives(settings)

    def seen(images: torch.Tensor, modality: Modality) -> torch.Tensor:
        with torch.inference_mode(), accelerator.autocast():
            output = network(images, (int(modality),) * len(images))
        return getattr(output, settings.evaluation.feature).float()

    def mirrored(images: torch.Tensor, modality: Modality) -> torch.Tensor:
        return (seen(images, modality) + seen(images.flip(-1), modality)) / 2

    view = mirrored if settings.evaluation.flip else seen

    def fused(images: torch.Tensor, modality: Modality) -> torch.Tensor:
        if modality not in derivative_of:
            return torch.nn.functional.normalize(view(images, modality))
        derivative, stages = derivative_of[modality]
        recorded, derived = images.chunk(2) if stages else (images, images)
        views = [view(recorded, modality), view(derived, derivative)]
        views = [torch.nn.functional.normalize(features) for features in views]
        return torch.cat(views, dim=1) if settings.evaluation.fusion == "concatenate" else sum(views) / 2

    return fused if derivative_of else view


def fused_derivatives(settings: Settings) -> dict[Modality, tuple[Modality, tuple[Stage, ...]]]:
    """Recorded modality -> the derivative whose features are joined to its own, and the stages that make its image
    (none where the network makes it of the recorded one); empty without `evaluation.fusion`.

    ValueError where the network that `settings` describe was trained on no derivative, or where one modality's features
    would be longer than the other's.
    """
    fusion = settings.evaluation.fusion
    if fusion == "none":
        return {}
    if settings.evaluation.extractor != "network":
        raise ValueError("evaluation.fusion: joins features of a network; pixels have none, use fusion=none")
    made = derivations(settings)
    if len(made) < (2 if fusion == "concatenate" else 1):
        found = ", ".join(settings.batch.modalities)
        raise ValueError(f"evaluation.fusion: {fusion} needs derivatives trained on; found batch.modalities={found}")
    return {modality.base: (modality, stages or ()) for modality, stages in made.items()}


def pixels_extractor(images: torch.Tensor, modality: Modality) -> torch.Tensor:
    """The grey picture itself, small, with its mean removed and its contrast normalised: what needs no learning."""
    small = torch.nn.functional.interpolate(images.float(), PIXELS_SHAPE, mode="area").mean(dim=1).flatten(1)
    return torch.nn.functional.layer_norm(small, small.shape[1:])


def extract_features(
    extract: Extractor, index: pd.DataFrame, rows: np.ndarray, settings: Settings, accelerator: Accelerator
) -> torch.Tensor:
    """Features (n, D) float32 on the device of n `rows` of the index (int64, each once), in their order, on every rank.

    Every rank fills its own rows and the sum over the ranks joins them, so no padding or duplicate can change a row.
    Nothing is compiled for a test: its batches are few, and of other sizes than those of the training.
    """
    pictures = open_pictures(settings.data.root, index)
    places = np.arange(len(rows))[accelerator.process_index :: accelerator.num_processes]
    derivative_of, table = fused_derivatives(settings), None
    with full_float32(), torch.compiler.set_stance("force_eager"):
        for modality in (Modality.VISIBLE, Modality.INFRARED):
            own = places[index["modality"].to_numpy()[rows[places]] == int(modality)]
            _, stages = derivative_of.get(modality, (None, ()))
            done = 0
            for images in evaluation_batches(pictures, rows[own], modality, settings, accelerator.device, stages):
                features = extract(images, modality)
                if table is None:
                    table = features.new_zeros((len(rows), features.shape[1]))
                table[torch.from_numpy(own[done : done + len(features)]).to(table.device)] = features
                done += len(features)
    if accelerator.num_processes > 1:
        table = agree_on_width(table, len(rows), accelerator)
        torch.distributed.all_reduce(table)
    return table


def agree_on_width(table: torch.Tensor | None, length: int, accelerator: Accelerator) -> torch.Tensor:
    """A rank without images (more ranks than images) brings zeros of the width of the others."""
    width = torch.tensor(0 if table is None else table.shape[1], device=accelerator.device)
    torch.distributed.all_reduce(width, torch.distributed.ReduceOp.MAX)
    return torch.zeros((length, int(width)), device=accelerator.device) if table is None else table
