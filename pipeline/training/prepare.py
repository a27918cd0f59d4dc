"""From settings, ranks and data to the state of a training, restored from the newest checkpoint."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from timm.utils import ModelEmaV3

from pipeline.batch import Batch
from pipeline.build import place_network
from pipeline.distributed import on_first_rank
from pipeline.gathering import keep_equal
from pipeline.loading.batches import training_batches
from pipeline.loading.images import check_size, open_images
from pipeline.loading.replacement import ReplacedCount, Replacements
from pipeline.loading.sampling import TrainingTable, identities_of_ranks, steps_per_epoch
from pipeline.loading.streams import Stream, Streams
from pipeline.methods.game import Game
from pipeline.methods.method import Method, Share, method_of
from pipeline.methods.players import Players
from pipeline.models.norm import choose_norm, share_statistics
from pipeline.run.checkpoint import load_newest
from pipeline.run.folder import run_path
from pipeline.run.trained import best_path
from pipeline.settings import Settings
from pipeline.training.freezing import check_freezing
from pipeline.training.state import Training
from pipeline.training.validation import Validation, prepare_validation
from pipeline.training.watch import DiscriminatorWatch


def prepare_training(
    settings: Settings, accelerator: Accelerator, index: pd.DataFrame, table: TrainingTable
) -> Training:
    """Returns the training of `table`, images of `index`, at the step of its newest checkpoint. Called by all ranks."""
    rank, ranks = accelerator.process_index, accelerator.num_processes
    norm = choose_norm(settings.train.norm, ranks)
    set_cudnn(settings)
    # The method, with the same initial weights on all ranks.
    set_seed(settings.seed)
    share = Share(rank, tuple(identities_of_ranks(settings.batch.ids_per_batch, ranks)))
    method = method_of(settings).build(settings, len(table.identities), share)
    check_freezing(settings, method)
    place_network(method, settings, accelerator.device)
    if ranks > 1:
        share_statistics(method, norm, method.pretrained_norms())
    # From here on the ranks sample different numbers; their weights are equal.
    set_seed(settings.seed, device_specific=True)
    # The average is a copy of the bare module: made before Accelerate wraps it or torch compiles it.
    average = ModelEmaV3(method.tested, decay=settings.train.ema) if settings.train.ema else None
    players = Players(method.players(settings), settings.optimizer.clip_grad_norm)
    if settings.train.compile:
        method.tested.compile()
    wrapped, players = wrap(method, players, accelerator)
    images = [table.images(modality) for modality in table.rows]
    validation = prepare_validation(settings, accelerator, index, steps_per_epoch(images, settings))
    # All that a checkpoint holds is registered before the newest one is loaded; `evaluation.checkpointed` knows the
    # order.
    replaced = ReplacedCount()
    for kept in (average, replaced, validation.best if validation else None):
        if kept is not None:
            accelerator.register_for_checkpointing(kept)
    folder = run_path(settings)
    step = load_newest(accelerator, folder / "checkpoints")
    on_first_rank(accelerator, lambda: check_best_kept(settings, folder, validation, step))
    return Training(
        settings,
        accelerator,
        norm,
        wrapped,
        players,
        open_streams(method, settings, index, table, accelerator),
        steps_per_epoch(images, settings),
        len(table.identities),
        folder,
        step=step,
        average=average,
        replaced=replaced,
        validation=validation,
        watch=DiscriminatorWatch(method.chance),
    )


def check_best_kept(settings: Settings, folder: Path, validation: Validation | None, step: int) -> None:
    """Raises ValueError where the weights to be tested at the end are lost. Those of this step are written again."""
    best = validation.best.step if validation and settings.validation.selection == "best" else 0
    if best not in (0, step) and not best_path(folder).exists():
        raise ValueError(
            f"{best_path(folder)}: is gone, with the weights of step {best}, the best on validation so far; restore "
            "it, or resume with validation.selection=last"
        )


def wrap(method: Method, players: Players, accelerator: Accelerator) -> tuple[torch.nn.Module, Players]:
    """Returns both as Accelerate prepares them: for ranks and mixed precision.

    A game averages gradients itself (`Players`): DistributedDataParallel is for one backward pass a step. Raises
    ValueError for several optimizers in fp16, whose one scaler Accelerate updates at each of them.
    """
    if len(players) > 1 and accelerator.scaler is not None:
        raise ValueError("train.precision: fp16 is for methods of one optimizer; use bf16 or fp32")
    check_players(method, players)
    with warnings.catch_warnings():  # what torch advises instead of broadcast_buffers, Accelerate doesn't know
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated")
        wrapped = accelerator.prepare_model(method, evaluation_mode=isinstance(method, Game))
    if isinstance(method, Game):
        keep_equal(method)
    prepared = [replace(player, optimizer=accelerator.prepare_optimizer(player.optimizer)) for player in players]
    return wrapped, Players(prepared, players.clip)


def open_streams(
    method: Method, settings: Settings, index: pd.DataFrame, table: TrainingTable, accelerator: Accelerator
) -> Streams:
    """Returns the streams that the method draws from, on the device. Raises ValueError for one that can't be."""
    device = accelerator.device
    rank, ranks = accelerator.process_index, accelerator.num_processes
    streams = method.streams(settings)
    images, replacements = open_images(settings.data.root, index), Replacements(table)
    for stream in streams.values():
        stream.check(table, ranks, even=isinstance(method, Game))
        check_size(images, stream.settings.augment, "augment" if stream.key == "batch" else stream.key)

    def begin(stream: Stream, number: int) -> Generator[Batch, None, None]:
        views = method.views(stream.settings)
        return training_batches(
            index, table, stream.settings, device, views, number, rank, ranks, stream.tag, replacements
        )

    return Streams(streams, begin)


def check_players(method: Method, players: Players) -> None:
    """Raises ValueError naming a trained parameter that no optimizer has, or several have."""
    groups = [group for player in players for group in player.optimizer.param_groups]
    held = Counter(id(parameter) for group in groups for parameter in group["params"])
    for name, parameter in method.named_parameters():
        if parameter.requires_grad and held[id(parameter)] != 1:
            raise ValueError(f"method: expected {name} in one optimizer; found it in {held[id(parameter)]}")


def set_cudnn(settings: Settings) -> None:
    """Sets up cuDNN. It may try its kernels out, as batches of a stream never change their size."""
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = settings.train.tf32
