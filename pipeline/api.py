"""Python API: load a trained run, embed images, search a gallery.

    from pipeline.api import load_run, search

    run = load_run("runs/demo")
    gallery = run.embed(sorted(Path("cameras/day").glob("*.jpg")), "visible")
    query = run.embed("cameras/night/0001.jpg", "infrared")
    distances, places = search(query, gallery, k=10)

The same code embeds here and in the command `evaluate`, with the options that the run was evaluated with.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator

from pipeline.batch import Modality
from pipeline.distributed import create_accelerator
from pipeline.evaluation.corruption import uncorrupted
from pipeline.evaluation.distances import DISTANCES, check_finite, check_metric, prepare_features
from pipeline.evaluation.features import Extractor, extract_features
from pipeline.evaluation.restore import choose_trained, load_extractor
from pipeline.evaluation.session import read_evaluation_arguments
from pipeline.loading.images import FolderImages
from pipeline.settings import Settings

CAPTURED = {modality.key: modality for modality in (Modality.VISIBLE, Modality.INFRARED)}
QUERIES_AT_ONCE = 256


@dataclass(frozen=True)
class Run:
    """A trained run, ready to embed images on the device of `accelerator`."""

    settings: Settings
    extractor: Extractor
    accelerator: Accelerator

    def embed(self, images: str | Path | Iterable[str | Path], modality: str) -> torch.Tensor:
        """Returns features (N, D) float32 of N image files, in their order, on the run's device.

        images: paths, or one; modality: "visible" or "infrared", of all of them. ValueError for another modality or
        none to embed, and with its path for an image that can't be read or decoded.
        """
        if modality not in CAPTURED:
            raise ValueError(f"modality: expected {' or '.join(CAPTURED)}; found {modality!r}")
        paths = [images] if isinstance(images, (str, Path)) else list(images)
        if not paths:
            raise ValueError("images: expected one path or more; found none")
        index = pd.DataFrame({"path": [os.fspath(path) for path in paths], "modality": int(CAPTURED[modality])})
        rows = np.arange(len(index))
        return extract_features(
            self.extractor, index, rows, uncorrupted(self.settings), self.accelerator, FolderImages(index)
        )


def load_run(folder: str | Path, *overrides: str, checkpoint: str | int | None = None) -> Run:
    """Returns the trained run in `folder`.

    overrides: `key=value` for keys of `evaluation` and `loader`, as for the command `evaluate`. checkpoint: "last",
    "best" or a step that there is a checkpoint of; None: as the run's `validation.selection` says. Where
    `evaluation.projection` is hcml and the run has learned none with these weights and options, it is learned now, from
    the training images. ValueError where the folder has no trained run or not these weights, or for an override of
    another key.
    """
    if not Path(folder).is_dir():
        raise ValueError(f"{folder}: expected the folder of a trained run; found none")
    settings, kept = read_evaluation_arguments([str(folder), *overrides])
    accelerator = create_accelerator(settings, settings.output)
    trained = choose_trained(kept, accelerator, None if checkpoint is None else str(checkpoint))
    return Run(settings, load_extractor(settings, trained, None, accelerator), accelerator)


def search(
    query: torch.Tensor, gallery: torch.Tensor, k: int = 10, metric: str = "cosine"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns distances (Q, k) float32, the nearest first, and places (Q, k) int64 of these in the gallery.

    query (Q, D) and gallery (G, D) on one device; k at most G; metric: "cosine" (1 - cosine), "euclidean" (squared)
    or "dot" (the negative inner product).
    ValueError for features of different widths, values that aren't finite, and a k that can't be.
    """
    check_metric(metric)
    query, gallery = torch.as_tensor(query), torch.as_tensor(gallery)
    if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1]:
        found = f"{tuple(query.shape)} and {tuple(gallery.shape)}"
        raise ValueError(f"features: expected (Q, D) and (G, D); found {found}")
    if not 1 <= k <= len(gallery):
        raise ValueError(f"k: expected a number from 1 to {len(gallery)}, the size of the gallery; found {k}")
    distances_of = DISTANCES[metric](prepare_features(gallery, "gallery"))
    nearest = []
    for queries in prepare_features(query, "query").split(QUERIES_AT_ONCE):
        distances = distances_of(queries)
        check_finite(distances, None)
        nearest.append(distances.topk(k, largest=False))
    return torch.cat([part.values.float() for part in nearest]), torch.cat([part.indices for part in nearest])
