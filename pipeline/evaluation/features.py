"""Features of test images, by row of the index: every rank extracts its share, every image is decoded once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator

from dali_ops.derive.stages import Stage
from pipeline.batch import Modality
from pipeline.evaluation.corruption import check_one_corruption, is_corrupted
from pipeline.evaluation.hcml.check import check_projection
from pipeline.evaluation.joined import Joining
from pipeline.loading.batches import evaluation_batches
from pipeline.loading.corrupted import CorruptedImages
from pipeline.loading.derivations import derivations
from pipeline.loading.images import ImageSource, open_images
from pipeline.precision import full_float32
from pipeline.settings import Settings

# (images (B, 3, H, W) of `evaluation_batches`, their modality) -> features (B, D) float32, or (B / 2, D) where the
# second half of the images are the derivatives of the first
FeatureFunction = Callable[[torch.Tensor, Modality], torch.Tensor]

PIXELS_SHAPE = (32, 16)  # height and width of the grayscale image that the baseline compares


@dataclass(frozen=True)
class Extractor:
    """A function of images that gives features.

    network      behind it, in eval mode; None for raw pixels
    derivatives  as `fused_derivatives`, whose images the function wants behind those of their base modality
    """

    compute: FeatureFunction
    network: torch.nn.Module | None = None
    derivatives: Mapping[Modality, tuple[Modality, tuple[Stage, ...]]] = field(default_factory=dict)

    def __call__(self, images: torch.Tensor, modality: Modality) -> torch.Tensor:
        return self.compute(images, modality)


def choose_extractor(settings: Settings, accelerator: Accelerator, restore: Callable[[], torch.nn.Module]) -> Extractor:
    """Returns the extractor that `settings.evaluation` asks for; `restore` is called only where it needs a network.

    Raises ValueError where the features can't be had: see `fused_derivatives` and `check_projection`.
    """
    fused_derivatives(settings)
    check_projection(settings)
    if settings.evaluation.extractor == "pixels":
        return Extractor(pixel_features)
    return network_extractor(restore(), settings, accelerator)


def network_extractor(network: torch.nn.Module, settings: Settings, accelerator: Accelerator) -> Extractor:
    """Returns the extractor of a trained (or untrained) network, with what `settings.evaluation` makes of its output.

    Raises ValueError where the features can't be had: see `fused_derivatives`.
    """
    network.eval()
    derivative_of, joining = fused_derivatives(settings), Joining.of(settings.evaluation)
    # what a sum of similarities adds up are parts of unit length, or means of such: their lengths count
    to_unit = (lambda feature: feature) if joining.by_name else torch.nn.functional.normalize

    def parts_of(images: torch.Tensor, modality: Modality) -> list[torch.Tensor]:
        with torch.inference_mode(), accelerator.autocast():
            output = network(images, (int(modality),) * len(images))
        return joining.parts(output)

    def view(images: torch.Tensor, modality: Modality) -> torch.Tensor:
        parts = parts_of(images, modality)
        if settings.evaluation.flip:
            mirrored = parts_of(images.flip(-1), modality)
            parts = [(one + other) / 2 for one, other in zip(parts, mirrored, strict=True)]
        return joining.join(parts)

    def fuse(images: torch.Tensor, modality: Modality) -> torch.Tensor:
        if modality not in derivative_of:
            return to_unit(view(images, modality))
        derivative, stages = derivative_of[modality]
        # The loader gives each image and its derivative; of a learned one the network makes it of the image itself.
        base, derived = images.chunk(2) if stages else (images, images)
        first, second = to_unit(view(base, modality)), to_unit(view(derived, derivative))
        concatenated = settings.evaluation.fusion == "concatenate"
        return torch.cat([first, second], dim=1) if concatenated else (first + second) / 2

    return Extractor(fuse if derivative_of else view, network, derivative_of)


def fused_derivatives(settings: Settings) -> dict[Modality, tuple[Modality, tuple[Stage, ...]]]:
    """Returns by base modality the derivative whose features are joined to its own, and the stages that make its image
    (none where the network makes it of the base image); empty without `evaluation.fusion`.

    Raises ValueError where the network that `settings` describe was trained on no derivative, or where one modality's
    features would be longer than the other's.
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


def pixel_features(images: torch.Tensor, modality: Modality) -> torch.Tensor:
    """Returns the grayscale image itself, small, without its mean and with normalized contrast: nothing is learned."""
    small = torch.nn.functional.interpolate(images.float(), PIXELS_SHAPE, mode="area").mean(dim=1).flatten(1)
    return torch.nn.functional.layer_norm(small, small.shape[1:])


def extract_features(
    extract: Extractor,
    index: pd.DataFrame,
    rows: np.ndarray,
    settings: Settings,
    accelerator: Accelerator,
    image_source: ImageSource | None = None,
) -> torch.Tensor:
    """Returns features (n, D) float32 on the device, of n `rows` of the index (int64, each once), in their order.

    image_source: of the index; None for that of `data.root`. Called by all ranks, and the same on each: every rank
    fills its own rows and the sum over the ranks joins them, so no padding or duplicate can change a row. Nothing is
    compiled for a test: its batches are few, and of other sizes than those of the training. Raises ValueError where all
    corruptions are asked for: each has features of its own.
    """
    check_one_corruption(settings.evaluation, "features are")
    image_source = open_images(settings.data.root, index) if image_source is None else image_source
    # Places in `rows`: every rank takes each so many-th, a modality after the other.
    places = np.arange(len(rows))[accelerator.process_index :: accelerator.num_processes]
    table: torch.Tensor | None = None
    with full_float32(), torch.compiler.set_stance("force_eager"):
        for modality in (Modality.VISIBLE, Modality.INFRARED):
            own = places[index["modality"].to_numpy()[rows[places]] == int(modality)]
            _, stages = extract.derivatives.get(modality, (None, ()))
            done = 0
            source = image_source
            if is_corrupted(settings, modality.key):
                source = CorruptedImages(source, index, modality, settings)
            for images in evaluation_batches(source, rows[own], modality, settings, accelerator.device, stages):
                features = extract(images, modality)
                # Only the features themselves tell how long they are.
                if table is None:
                    table = features.new_zeros((len(rows), features.shape[1]))
                table[torch.from_numpy(own[done : done + len(features)]).to(table.device)] = features
                done += len(features)
    if accelerator.num_processes > 1:
        table = agree_on_width(table, len(rows), accelerator)
        torch.distributed.all_reduce(table)
    if table is None:
        raise ValueError("features: expected one image to extract them of, or more; found none")
    return table


def agree_on_width(table: torch.Tensor | None, length: int, accelerator: Accelerator) -> torch.Tensor:
    """Returns the table, or on a rank without images (more ranks than images) zeros as wide as those of the others."""
    width = torch.tensor(0 if table is None else table.shape[1], device=accelerator.device)
    torch.distributed.all_reduce(width, torch.distributed.ReduceOp.MAX)
    return torch.zeros((length, int(width)), device=accelerator.device) if table is None else table
