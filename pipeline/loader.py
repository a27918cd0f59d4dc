"""From an index and a plan to batches on the device: what stands between the data set and the network."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dali_ops.check import first_undecodable
from dali_ops.decode import path_bytes
from dali_ops.derive import DERIVATIONS
from dali_ops.eval_graph import evaluation_pipeline
from dali_ops.torch_output import next_images
from dali_ops.train_graph import View, training_pipeline
from pipeline.batch import Batch, Modality
from pipeline.sampling import Derivations, Plan, TrainingTable, plan_batch
from pipeline.settings import LoaderSettings, Settings
from pipeline.text import nearest

LEARNED = "learned"  # the derivation that the network makes itself; its rows leave the loader as the recorded image


def derivation_names(settings: Settings) -> dict[Modality, str]:
    """Derived modality in use -> the name of its derivation. ValueError for a name there isn't."""
    chosen = {
        Modality.VISIBLE_DERIVED: ("derive.visible", settings.derive.visible),
        Modality.INFRARED_DERIVED: ("derive.infrared", settings.derive.infrared),
    }
    names = {}
    for modality, (key, name) in chosen.items():
        family = modality.base.key
        known = [LEARNED, *(known for known, it in DERIVATIONS.items() if family in it.families)]
        if name not in known:
            raise ValueError(f"{key}: expected one of {', '.join(known)}; found {name!r}{nearest(name, known)}")
        if modality.key in settings.batch.modalities:
            names[modality] = name
    return names


def views_in_use(settings: Settings) -> tuple[list[View], Derivations]:
    """The images a batch holds of every picture: for the graph, and for the plan, in the order of `Modality`."""
    names = derivation_names(settings)
    modalities = sorted(Modality.from_name(name) for name in settings.batch.modalities)
    made = {m: "identity" if names.get(m) == LEARNED else names.get(m) for m in modalities}
    views = [View(modality.base.key, made[modality]) for modality in modalities]
    return views, {m: DERIVATIONS[name].draw if name else None for m, name in made.items()}


def training_batches(
    index: pd.DataFrame,
    table: TrainingTable,
    settings: Settings,
    device: torch.device,
    start: int = 0,
    rank: int = 0,
    ranks: int = 1,
) -> Iterator[Batch]:
    """This rank's share of the global batches number `start`, `start` + 1, ... without end.

    A picture that can't be read or decoded raises ValueError with its path.
    """
    views, derivations = views_in_use(settings)
    image_type = getattr(torch, settings.loader.image_type)  # DALI writes no bfloat16: that one is converted
    plans: dict[int, Plan] = {}  # made ahead by the pipeline, used when the batch comes out

    def source(iteration: int) -> tuple:
        number = start + iteration
        plan = plan_batch(table, derivations, settings.batch, settings.augment, settings.seed, number, rank, ranks)
        plans[number] = plan
        return (*([path_bytes(path) for path in paths[plan.rows[base]]] for base in table.rows), plan.parameters)

    paths = index["path"].to_numpy()
    pipeline = training_pipeline(
        source,
        batch_size=settings.batch.ids_per_batch * settings.batch.images_per_modality // ranks,
        views=views,
        height=settings.augment.height,
        width=settings.augment.width,
        pad=settings.augment.pad,
        erasing=settings.augment.erasing > 0,
        half=settings.loader.image_type == "float16",
        **place(settings.loader, device),
    )
    columns = {name: index[name].to_numpy(np.int64) for name in ("identity", "camera")}
    for number in itertools.count(start):
        try:
            images = next_images(pipeline).to(image_type)
        except RuntimeError as error:
            plan = plans[number]
            refuse_undecodable({base: paths[plan.rows[base]] for base in plan.rows}, error)
        yield assemble(plans.pop(number), list(derivations), images, columns, device)


def assemble(
    plan: Plan,
    modalities: Sequence[Modality],
    images: torch.Tensor,
    columns: dict[str, np.ndarray],
    device: torch.device,
) -> Batch:
    """A batch from its images, which stand view after view, in the order of `modalities`."""
    rows = np.concatenate([plan.rows[modality.base] for modality in modalities])
    modality = np.repeat([int(modality) for modality in modalities], len(plan.labels))

    def on_device(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).to(device, non_blocking=True)

    return Batch(
        images=images,
        label=on_device(np.tile(plan.labels, len(modalities))),
        identity=on_device(columns["identity"][rows]),
        camera=on_device(columns["camera"][rows]),
        modality=tuple(modality.tolist()),
        index=on_device(rows),
    )


def evaluation_batches(
    paths: Sequence[str], modality: Modality, settings: Settings, device: torch.device
) -> Iterator[torch.Tensor]:
    """Images (b, 3, H, W) of recorded pictures of one modality, in their order, `evaluation.batch` at a time."""
    step = settings.evaluation.batch
    image_type = getattr(torch, settings.loader.image_type)

    def source(iteration: int) -> list[np.ndarray]:
        if iteration * step >= len(paths):
            raise StopIteration
        return [path_bytes(path) for path in paths[iteration * step : (iteration + 1) * step]]

    pipeline = evaluation_pipeline(
        source,
        batch_size=step,
        family=modality.key,
        height=settings.augment.height,
        width=settings.augment.width,
        half=settings.loader.image_type == "float16",
        **place(settings.loader, device),
    )
    for begin in range(0, len(paths), step):
        try:
            images = next_images(pipeline).to(image_type)
        except RuntimeError as error:
            refuse_undecodable({modality: paths[begin : begin + step]}, error)
        yield images


def place(loader: LoaderSettings, device: torch.device) -> dict:
    """Where and with how many threads a DALI pipeline runs."""
    on_gpu = device.type == "cuda"
    if loader.decode == "mixed" and not on_gpu:
        raise ValueError("loader.decode: mixed decodes on a GPU, and this process has none; use auto or cpu")
    return {
        "device": "gpu" if on_gpu else "cpu",
        "device_id": (device.index or 0) if on_gpu else None,
        "decode": "mixed" if on_gpu and loader.decode != "cpu" else "cpu",
        "threads": loader.threads or usable_cores(),
        "prefetch": loader.prefetch,
    }


def usable_cores() -> int:
    """Cores this process may use, divided among the ranks of its node."""
    return max(1, len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def refuse_undecodable(paths: dict[Modality, Sequence[str]], error: RuntimeError) -> None:
    """Turns DALI's error, which has a place in a batch, into one that names the file; DALI's own where all decode."""
    for modality, files in paths.items():
        found = first_undecodable(list(files), modality.key)
        if found is not None:
            path, reason = found
            raise ValueError(f"{Path(path)}: cannot be read as a picture: {reason}") from error
    raise error
