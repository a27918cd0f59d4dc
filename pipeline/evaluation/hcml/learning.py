"""A run's projection: read from its folder, or learned from the features of the images the run was trained on."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator

from pipeline.batch import Modality
from pipeline.build import build_divided_index, build_table
from pipeline.distributed import on_first_rank, precision_of
from pipeline.evaluation.corruption import uncorrupted
from pipeline.evaluation.distances import prepare_features
from pipeline.evaluation.features import Extractor, extract_features
from pipeline.evaluation.hcml.projection import SIZE, Projection, learn_projection, read_projection
from pipeline.evaluation.results import locked
from pipeline.loading.sampling import TrainingTable
from pipeline.run.folder import run_path
from pipeline.run.provenance import describe_precision
from pipeline.run.training_data import difference, read_training_data, training_data
from pipeline.settings import DataSettings, Settings

log = logging.getLogger("pipeline")

VERSION = "1"  # of what is learned from the same features: a change of the formulas is another


def projection_path(folder: Path) -> Path:
    """Returns the file of a run's projection."""
    return folder / "hcml.safetensors"


def with_projection(
    extractor: Extractor, settings: Settings, kept: Settings | None, accelerator: Accelerator
) -> Extractor:
    """Returns the extractor with its features projected (`Projection`), by what the run `kept` has learned.

    It is learned now where the run's file is missing, or of other weights or options. Raises ValueError where there is
    no run, and where the images it was trained on aren't there. Called by all ranks.
    """
    if kept is None:
        raise ValueError("evaluation.projection: hcml is learned after a training; expected a trained run, found none")
    assert extractor.network is not None, "`check_projection` lets features of networks pass only"
    path, facts = projection_path(run_path(kept)), facts_of(extractor.network, settings, accelerator)
    projection = on_first_rank(accelerator, lambda: read_projection(path, facts))
    if projection is None:
        projection = learn_from_run(extractor, settings, kept, accelerator)
        on_first_rank(accelerator, partial(keep, projection, path, facts))
    project = projection.function(accelerator.device)
    return replace(extractor, compute=lambda images, modality: project(extractor(images, modality), modality))


def keep(projection: Projection, path: Path, facts: dict[str, str]) -> None:
    """Writes a run's projection, one evaluation of the run after the other."""
    with locked(path.with_name("results.csv")):
        projection.save(path, facts)


def facts_of(network: torch.nn.Module, settings: Settings, accelerator: Accelerator) -> dict[str, str]:
    """Returns what a projection depends on, which its file says in its header."""
    evaluation = settings.evaluation
    summed = " summed" if evaluation.similarity == "summed" else ""
    return {
        "weights": digest_of(network),
        "feature": f"{evaluation.feature}{summed}",
        "flip": str(evaluation.flip),
        "precision": describe_precision(precision_of(accelerator), settings.loader.image_type),
        "size": str(SIZE),
        "version": VERSION,
        # added later: files of before are of images that went through their own stem
        **({"stems": evaluation.stems} if evaluation.stems != "own" else {}),
    }


def digest_of(network: torch.nn.Module) -> str:
    """Returns the SHA-256 of a network's weights and buffers: their names, types and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def learn_from_run(extractor: Extractor, settings: Settings, kept: Settings, accelerator: Accelerator) -> Projection:
    """Returns the projection learned on the first rank from the features of the training images, which all extract."""
    trained = replace(uncorrupted(settings), data=trained_data(settings.data, kept.data))
    index, table = on_first_rank(accelerator, lambda: read_trained(trained, run_path(kept)))
    rows, labels, infrared = images_of(table)
    features = prepare_features(extract_features(extractor, index, rows, trained, accelerator), "training")
    if accelerator.is_main_process:
        log.info(f"hcml: learning from the features of {len(rows)} training images: minutes, on the CPU")
    return on_first_rank(accelerator, lambda: learn_projection(features, labels, infrared))


def images_of(table: TrainingTable) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
    """Returns the rows of the index that were trained on (n,) int64, their labels (n,) int64, and which are infrared
    (n,) bool."""
    groups = [*table.rows[Modality.VISIBLE], *table.rows[Modality.INFRARED]]
    counts, identities = [len(rows) for rows in groups], len(table.identities)
    places = torch.from_numpy(np.repeat(np.arange(2 * identities), counts))
    return np.concatenate(groups), places % identities, places >= identities


def trained_data(tested: DataSettings, kept: DataSettings) -> DataSettings:
    """Returns where the images are that a run was trained on: with those tested, unless these are of another data set.

    They may have been moved since, and then `tested` says where to.
    """
    return replace(tested, train_splits=kept.train_splits) if tested.dataset == kept.dataset else kept


def read_trained(settings: Settings, folder: Path) -> tuple[pd.DataFrame, TrainingTable]:
    """Returns the index and the images that the run in `folder` was trained on.

    Raises ValueError where they aren't there, or aren't what the run was trained on.
    """
    try:
        index = build_divided_index(settings)
        table = build_table(settings, index)
    except (ValueError, OSError) as error:
        raise ValueError(f"evaluation.projection: hcml is learned from the training images: {error}") from None
    before, now = read_training_data(folder), training_data(index, table, settings.data)
    if before is not None and before.digest != now.digest:
        raise ValueError(
            f"evaluation.projection: hcml is learned from what {folder} was trained on; found other data in "
            f"{settings.data.root}: {difference(before, now)}"
        )
    return index, table
