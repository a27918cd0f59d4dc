"""From an index and a plan to batches on the device: what stands between the data set and the network."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import NoReturn

import numpy as np
import pandas as pd
import torch

from dali_ops.check import is_of_an_image
from dali_ops.derive.stages import Stage, channel_matrices, matrices_for_testing
from dali_ops.eval_graph import evaluation_pipeline
from dali_ops.execution import in_turn
from dali_ops.normalize import mix_channels
from dali_ops.torch_output import TorchOutput
from dali_ops.train_graph import training_pipeline
from dali_ops.views import View
from pipeline.batch import Batch, Modality
from pipeline.loading.derivations import views_in_use
from pipeline.loading.hardware import dali_pipelines
from pipeline.loading.images import ImageSource, check_size, open_images, undecodable
from pipeline.loading.replacement import Replacements
from pipeline.loading.sampling import Plan, TrainingTable, Views, identities_of_ranks, plan_batch
from pipeline.normalization import normalization_of
from pipeline.settings import LoaderSettings, Settings

log = logging.getLogger("pipeline")


def training_batches(
    index: pd.DataFrame,
    table: TrainingTable,
    settings: Settings,
    device: torch.device,
    views: Views | None = None,
    start: int = 0,
    rank: int = 0,
    ranks: int = 1,
    tag: int = 0,
    replacements: Replacements | None = None,
) -> Generator[Batch, None, None]:
    """Yields this rank's share of the global batches number `start`, `start` + 1, ... without end.

    `index` is that of `settings.data.root`; `views` say what the images of each modality show (`views_in_use` unless
    they are given). An image that can't be read or decoded raises ValueError with its path, or is replaced by another,
    as `loader.on_corrupt_image` says. Of several streams with the same seed
    each has its own `tag`; `replacements` are what all know of such images.
    """
    views = views_in_use(settings) if views is None else views
    image_source = open_images(settings.data.root, index)
    replacements = Replacements(table) if replacements is None else replacements
    check_size(image_source, settings.augment)
    columns = {name: index[name].to_numpy(np.int64) for name in ("identity", "camera")}

    def plan_of(number: int) -> Plan:
        sampled = plan_batch(table, views, settings.batch, settings.augment, settings.seed, number, rank, ranks, tag)
        return replacements.apply(sampled)

    count = identities_of_ranks(settings.batch.ids_per_batch, ranks)[rank] * settings.batch.images_per_modality
    number = start
    # A batch that can't be decoded ends the pipelines. New ones begin with it again, without its bad images.
    while True:
        try:
            for plan, images in planned_images(
                plan_of, number, image_source, [*views.values()], settings, device, count
            ):
                yield assemble(plan, list(views), images, columns, device)
                del images  # its memory is free for the next batch, unless the caller holds it
                number += 1
        except DecodingFailed as failure:
            handle_corrupt_images(failure, image_source, replacements, settings.loader)


class DecodingFailed(Exception):
    """DALI could not decode an image of a batch, and said so by `error`."""

    def __init__(self, plan: Plan, error: RuntimeError) -> None:
        self.plan, self.error = plan, error


def planned_images(
    plan_of: Callable[[int], Plan],
    first: int,
    image_source: ImageSource,
    views: Sequence[View],
    settings: Settings,
    device: torch.device,
    count: int,
) -> Iterator[tuple[Plan, torch.Tensor]]:
    """Yields plan and images of batch `first` and all after it, with `count` captured images of each modality.

    Raises DecodingFailed, which ends it: DALI guarantees nothing afterwards.
    """
    plans: dict[int, Plan] = {}  # made ahead by the pipelines, used when the batch comes out

    def source(iteration: int) -> tuple:
        plan = plans[first + iteration] = plan_of(first + iteration)
        return (*(image_source.feed(rows) for rows in plan.rows.values()), plan.parameters)

    # Several pipelines on a CPU, in turn; one on a GPU.
    pipelines, place = dali_pipelines(settings.loader, device)
    normalization = normalization_of(settings)
    make = partial(
        training_pipeline,
        batch_size=count,
        form=image_source.form,
        views=views,
        height=settings.augment.height,
        width=settings.augment.width,
        interpolation=settings.augment.interpolation,
        pad=settings.augment.pad,
        pad_fill=settings.augment.pad_fill,
        normalization=normalization,
        **place,
    )
    dtype = getattr(torch, settings.loader.image_type)
    output = TorchOutput(in_turn(make, source, pipelines), device, normalization, dtype)
    # A plan leaves with its images; those after it were made by pipelines that work ahead.
    for number in itertools.count(first):
        try:
            images = output.next()
        except RuntimeError as error:
            if not is_of_an_image(error):
                raise
            raise DecodingFailed(plans[number], error) from error
        plan = plans.pop(number)
        derive_normalized(images, views, plan.parameters)
        yield plan, images
        del images


def derive_normalized(images: torch.Tensor, views: Sequence[View], parameters: np.ndarray) -> None:
    """Applies the stages behind normalization, in place: images (views * n, 3, H, W), view after view; their parameters
    (n, views, columns)."""
    for number, (view, own) in enumerate(zip(views, images.chunk(len(views)), strict=True)):
        matrices = channel_matrices(view.stages, parameters[:, number])
        if matrices is not None:
            mix_channels(own, matrices)


def handle_corrupt_images(
    failure: DecodingFailed, image_source: ImageSource, replacements: Replacements, loader: LoaderSettings
) -> None:
    """Finds the bad images of a batch and has them replaced.

    Raises ValueError naming the first where `loader.on_corrupt_image` is "error"; as `raise_unexplained` where there
    are none.
    """
    rows = failure.plan.rows
    found = [bad for base in rows for bad in undecodable(image_source, rows[base], base.key)]
    if not found:
        raise_unexplained(failure.error, loader)
    for row, reason in found:
        message = f"{image_source.path(row)}: cannot be read as an image: {reason}"
        if loader.on_corrupt_image == "error":
            raise ValueError(f"{message} (loader.on_corrupt_image=replace continues without it)") from failure.error
        replacements.bad.add(row)
        log.error(f"{message}; others of its identity replace it")


def raise_unexplained(error: RuntimeError, loader: LoaderSettings) -> NoReturn:
    """Raises `error`, of a batch whose images can all be decoded on the CPU; ValueError where a GPU decoded it."""
    if loader.decode == "mixed":
        raise ValueError(
            "loader.decode: the GPU can't decode an image that the CPU can (mixed); use loader.decode=cpu"
        ) from error
    raise error


def assemble(
    plan: Plan,
    modalities: Sequence[Modality],
    images: torch.Tensor,
    columns: dict[str, np.ndarray],
    device: torch.device,
) -> Batch:
    """Returns a batch of its images, which stand view after view, in the order of `modalities`."""
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
        replaced=plan.replaced,
    )


def evaluation_batches(
    image_source: ImageSource,
    rows: np.ndarray,
    modality: Modality,
    settings: Settings,
    device: torch.device,
    stages: Sequence[Stage] = (),
) -> Iterator[torch.Tensor]:
    """Yields images (b, 3, H, W) of rows of the index, captured in one modality, in their order, `evaluation.batch` at
    a time.

    With `stages` of derivation (2b, 3, H, W): their derivatives, made without chance, follow them. An image that can't
    be read or decoded raises ValueError with its path: no other may replace it in a test.
    """
    check_size(image_source, settings.augment)
    step = settings.evaluation.batch

    # The rows in batches of `step`; the last may be smaller.
    def source(iteration: int) -> list[np.ndarray]:
        if iteration * step >= len(rows):
            raise StopIteration
        return image_source.feed(rows[iteration * step : (iteration + 1) * step])

    pipelines, place = dali_pipelines(settings.loader, device)
    make = partial(
        evaluation_pipeline,
        batch_size=step,
        form=image_source.form,
        base=modality.key,
        stages=stages,
        height=settings.augment.height,
        width=settings.augment.width,
        interpolation=settings.augment.interpolation,
        **place,
    )
    dtype = getattr(torch, settings.loader.image_type)
    output = TorchOutput(in_turn(make, source, pipelines), device, normalization_of(settings), dtype)
    normalized = matrices_for_testing(stages)
    for begin in range(0, len(rows), step):
        try:
            images = output.next()
        except RuntimeError as error:
            if not is_of_an_image(error):
                raise
            # DALI doesn't say which image it is: the first that can't be decoded alone
            for row, reason in undecodable(image_source, rows[begin : begin + step], modality.key):
                raise ValueError(f"{image_source.path(row)}: cannot be read as an image: {reason}") from error
            raise_unexplained(error, settings.loader)
        if normalized is not None:
            derived = images[len(images) // 2 :]
            mix_channels(derived, normalized.repeat(len(derived), axis=0))
        yield images
        del images
