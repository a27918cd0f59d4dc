"""Training: `accelerate launch -m pipeline.train CONFIG... [key=value ...]`, then evaluation.

The same command again goes on from the newest checkpoint, or says that the run is finished.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, which take seconds
    from pipeline.cli.console import run_module

    run_module("train")

import contextlib
import logging
import sys
import warnings

import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from timm.utils import ModelEmaV3

from pipeline.build import build_index, build_network, build_objective, build_table, place_network, training_rows
from pipeline.cli.train import read_options
from pipeline.config import config_hash, describe, load_config
from pipeline.distributed import create_training_accelerator, norm_problems, on_first_rank, precision_of
from pipeline.errors import one_line_errors
from pipeline.evaluate import Tested, choose_extractor, evaluate_trained, finish
from pipeline.evaluation.features import fused_derivatives
from pipeline.evaluation.rehearsal import rehearse
from pipeline.evaluation.results import format_summary, read_rows, refuse_folder, summarise
from pipeline.loading.batches import training_batches
from pipeline.loading.replacement import ReplacedCount
from pipeline.loading.sampling import TrainingTable, steps_in_epoch
from pipeline.models.norm import choose_norm, share_statistics
from pipeline.run.checkpoint import load_newest
from pipeline.run.folder import (
    is_finished,
    is_trained,
    log_failure,
    mark_finished,
    open_run,
    run_path,
    start_log,
    weights_path,
)
from pipeline.run.lock import RunLock, refuse_unshared
from pipeline.run.provenance import read_facts, record_weights, starting_facts
from pipeline.run.trained_identities import named_splits, refuse_trained_split
from pipeline.run.training_data import training_data
from pipeline.settings import Settings
from pipeline.training.optimization import create_optimizer, schedule_problems
from pipeline.training.step import Training
from pipeline.training.stopping import StopRequest
from pipeline.training.trainer import train


def prepare_training(
    settings: Settings, accelerator: Accelerator, index: pd.DataFrame, table: TrainingTable
) -> Training:
    """Everything the loop needs, restored from the newest checkpoint."""
    rank, ranks = accelerator.process_index, accelerator.num_processes
    norm = choose_norm(settings.train.norm, ranks)
    set_cudnn(settings)
    set_seed(settings.seed)
    network = place_network(build_network(settings, len(table.identities)), settings, accelerator.device)
    if ranks > 1:
        share_statistics(network, norm)
    set_seed(settings.seed, device_specific=True)
    average = ModelEmaV3(network, decay=settings.train.ema) if settings.train.ema else None
    optimizer = create_optimizer(network, settings.optimizer)
    if settings.train.compile:
        network.compile()
    with warnings.catch_warnings():  # what torch advises instead of broadcast_buffers, Accelerate doesn't know
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated")
        network, optimizer = accelerator.prepare(network, optimizer)
    if average is not None:
        accelerator.register_for_checkpointing(average)
    replaced = ReplacedCount()
    accelerator.register_for_checkpointing(replaced)
    folder = run_path(settings)
    step = load_newest(accelerator, folder / "checkpoints")
    accumulate = settings.train.accumulate
    batches = training_batches(
        index, table, settings, accelerator.device, start=step * accumulate, rank=rank, ranks=ranks
    )
    steps_per_epoch = settings.train.steps_per_epoch or -(-steps_in_epoch(table, settings.batch) // accumulate)
    return Training(
        settings,
        accelerator,
        norm,
        network,
        optimizer,
        build_objective(settings, rank, ranks),
        batches,
        steps_per_epoch,
        folder,
        step=step,
        average=average,
        replaced=replaced,
    )


def set_cudnn(settings: Settings) -> None:
    """Batches never change their size, so cuDNN may try its kernels out."""
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = settings.train.tf32


def announce(training: Training, table: TrainingTable, left_out: int, log: logging.Logger) -> None:
    images = ", ".join(f"{table.images(modality)} {modality.key}" for modality in table.rows)
    settings, accelerator = training.settings, training.accelerator
    log.info(
        f"{training.folder}: {len(table.identities)} identities, {images} images"
        + (f" ({left_out} identities without images of each modality left out)" if left_out else "")
        + f"; {training.steps} steps of "
        f"{settings.batch.ids_per_batch} identities on {accelerator.num_processes} x {accelerator.device.type}, "
        f"{precision_of(accelerator)}, norm {training.norm}"
        + (f"; resumed at step {training.step}" if training.step else "")
    )
    problems = schedule_problems(settings.train.epochs, settings.optimizer)
    for problem in [*problems, *norm_problems(settings, accelerator.num_processes)]:
        log.warning(problem)


def begin(
    settings: Settings, accelerator: Accelerator, lock: RunLock, index: pd.DataFrame, table: TrainingTable
) -> str:
    """Takes the run folder for this training; returns who holds it. Called by one rank."""
    holder = lock.acquire()
    refuse_folder(run_path(settings) / "results.csv")
    data = training_data(index, table, settings.data)
    open_run(settings, named_splits(index), data, starting_facts(settings, accelerator))
    return holder


def train_run(
    settings: Settings, accelerator: Accelerator, index: pd.DataFrame, table: TrainingTable, stop: StopRequest
) -> bool:
    """Trains a run to its end and saves its weights. False where it was asked to stop before."""
    log = logging.getLogger("pipeline")
    training = prepare_training(settings, accelerator, index, table)
    training.stop = stop
    on_first_rank(accelerator, lambda: record_weights(training.folder, training.tested_network.backbone.origin))
    recorded = training_rows(index, settings.data)["identity"].nunique()
    announce(training, table, recorded - len(table.identities), log)
    rehearse(settings, index, choose_extractor(settings, training.tested_network, accelerator), accelerator)
    if not train(training):
        return False
    on_first_rank(accelerator, lambda: keep_weights(training))
    replaced = training.replaced.count
    log.info(f"{training.folder}: trained" + (f"; {replaced} images were replaced in all" if replaced else ""))
    return True


def keep_weights(training: Training) -> None:
    """Writes what is tested, with what is known of its training. Called by one rank."""
    settings, facts = training.settings, read_facts(training.folder)
    tested = Tested(config_hash(settings), settings.train.epochs, training.replaced.count, training=facts)
    tested.save(training.tested_network, weights_path(training.folder))


def train_and_evaluate(
    settings: Settings, accelerator: Accelerator, index: pd.DataFrame, table: TrainingTable, stop: StopRequest
) -> None:
    """Both, or the evaluation alone of a run whose training has ended but whose evaluation has not."""
    folder, log = run_path(settings), logging.getLogger("pipeline")
    accelerator.init_trackers(settings.name, config={name: str(value) for name, value, _ in describe(settings)})
    trained = on_first_rank(accelerator, lambda: is_trained(folder))
    if trained or train_run(settings, accelerator, index, table, stop):
        judged = evaluate_trained(settings, settings, index, accelerator)
        on_first_rank(accelerator, lambda: finish(settings, judged))
        on_first_rank(accelerator, lambda: mark_finished(folder))
        log.info(f"{folder}: finished")
    accelerator.wait_for_everyone()
    accelerator.end_training()


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    options = read_options(sys.argv[1:] if argv is None else argv)
    settings = load_config(options.words, name_required=True)
    folder = run_path(settings)
    refuse_trained_split(settings.data, settings.data)
    fused_derivatives(settings)  # refuses what evaluation could only after the training
    accelerator = create_training_accelerator(settings, str(folder))
    index = on_first_rank(accelerator, lambda: build_index(settings.data))
    table = build_table(settings, index)
    with contextlib.closing(RunLock(folder)) as lock, StopRequest() as stop:
        holder = on_first_rank(accelerator, lambda: begin(settings, accelerator, lock, index, table))
        if not accelerator.is_main_process:
            refuse_unshared(folder, holder)
        log = start_log(folder if accelerator.is_main_process else None)
        if on_first_rank(accelerator, lambda: is_finished(folder)):
            log.info(f"{folder}: is finished; `python -m pipeline.evaluate {folder}` evaluates it again")
            if accelerator.is_main_process and (folder / "results.csv").exists():
                print(format_summary(summarise(read_rows(folder / "results.csv"))))
            return
        try:
            train_and_evaluate(settings, accelerator, index, table, stop)
        except (ValueError, OSError, FloatingPointError) as error:
            log_failure(log, error)
            raise
