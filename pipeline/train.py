"""Training: `accelerate launch -m pipeline.train CONFIG... [key=value ...]`, then evaluation.

The same command again resumes from the newest checkpoint, or says that the run is finished.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, which take seconds
    from pipeline.cli.console import run_module

    run_module("train")

import contextlib
import logging
import sys
from functools import partial
from pathlib import Path

import pandas as pd
from accelerate import Accelerator

from pipeline.build import build_divided_index, build_table, training_rows
from pipeline.cli.train import read_options
from pipeline.config import load_config
from pipeline.distributed import create_training_accelerator, norm_problems, on_first_rank, precision_of
from pipeline.errors import one_line_errors
from pipeline.evaluation.corruption import check_corruption
from pipeline.evaluation.features import choose_extractor, fused_derivatives
from pipeline.evaluation.hcml.check import check_projection
from pipeline.evaluation.rehearsal import rehearse
from pipeline.evaluation.results import check_not_folder, format_summary, named_means, read_rows, summarize
from pipeline.evaluation.session import Session, evaluate, finish
from pipeline.evaluation.validation import check_validation
from pipeline.loading.sampling import TrainingTable
from pipeline.methods.method import method_of
from pipeline.optimization import check_optimizer, check_schedule, schedule_problems
from pipeline.run.ancestors import check_ancestors
from pipeline.run.folder import (
    ancestors_of,
    as_begun,
    is_begun,
    is_finished,
    log_failure,
    mark_finished,
    open_run,
    run_path,
    settings_of,
    start_log,
)
from pipeline.run.lock import RunLock, check_shared_folder
from pipeline.run.metrics import read_metrics
from pipeline.run.provenance import record_weights, starting_facts
from pipeline.run.trained import is_trained
from pipeline.run.trained_identities import check_split_untrained, named_splits
from pipeline.run.training_data import training_data
from pipeline.settings import Settings
from pipeline.tracking import Trackers
from pipeline.training.keeping import keep_last
from pipeline.training.prepare import prepare_training
from pipeline.training.sheets import Sheets
from pipeline.training.state import Training
from pipeline.training.stopping import StopRequest
from pipeline.training.trainer import train


def announce(training: Training, table: TrainingTable, left_out: int, log: logging.Logger) -> None:
    """Logs the data, size and place of a training, and warnings about its schedule and its norm."""
    images = ", ".join(f"{table.images(modality)} {modality.key}" for modality in table.rows)
    settings, accelerator = training.settings, training.accelerator
    log.info(
        f"{training.folder}: {len(table.identities)} identities, {images} images"
        + (f" ({left_out} identities without images of each modality left out)" if left_out else "")
        + (f"; validated on {training.validation.validator.identities} others" if training.validation else "")
        + f"; {training.steps} steps of "
        f"{settings.batch.ids_per_batch} identities on {accelerator.num_processes} x {accelerator.device.type}, "
        f"{precision_of(accelerator)}, norm {training.norm}, {settings.model.pooling} pooling"
        + (f"; resumed at step {training.step}" if training.step else "")
    )
    problems = schedule_problems(settings.train.epochs, settings.optimizer)
    if training.frozen_steps >= training.steps:
        problems.append("train.freeze_backbone_epochs: the backbone stands still for the whole training")
    for problem in [*problems, *norm_problems(settings, accelerator.num_processes)]:
        log.warning(problem)


def begin(
    settings: Settings, accelerator: Accelerator, lock: RunLock, index: pd.DataFrame, table: TrainingTable
) -> str:
    """Takes the run folder for this training; returns who holds it. Called by one rank."""
    holder = lock.acquire()
    check_not_folder(run_path(settings) / "results.csv")
    check_ancestors(settings, ancestors_of(settings), index)
    data = training_data(index, table, settings.data)
    open_run(settings, named_splits(index), data, starting_facts(settings, accelerator))
    return holder


def train_run(
    settings: Settings,
    accelerator: Accelerator,
    index: pd.DataFrame,
    table: TrainingTable,
    stop: StopRequest,
    trackers: Trackers,
) -> bool:
    """Trains a run to its end and saves its weights. Returns False where it was asked to stop before."""
    log = logging.getLogger("pipeline")
    training = prepare_training(settings, accelerator, index, table)
    training.stop, training.trackers = stop, trackers
    on_first_rank(accelerator, lambda: record_weights(training.folder, str(training.tested.origin)))
    found = training_rows(index, settings.data)["identity"].nunique()
    announce(training, table, found - len(table.identities), log)
    rehearse(settings, index, choose_extractor(settings, accelerator, lambda: training.tested), accelerator)
    if training.validation is not None:
        training.validation.validator.rehearse(training.tested)
    trackers.start(settings, training.folder, training.step)
    if not train(training, prepare_sheets(training, index, table)):
        return False
    on_first_rank(accelerator, lambda: keep_last(training))
    replaced = training.replaced.count
    log.info(f"{training.folder}: trained" + (f"; {replaced} images were replaced in all" if replaced else ""))
    return True


def prepare_sheets(training: Training, index: pd.DataFrame, table: TrainingTable) -> Sheets | None:
    """Returns the sheets of a training whose method makes images."""
    settings = method_of(training.settings).shown_settings(training.settings)
    return None if settings is None else Sheets(settings, index, table, training.accelerator.device)


def train_and_evaluate(
    settings: Settings, accelerator: Accelerator, index: pd.DataFrame, table: TrainingTable, stop: StopRequest
) -> None:
    """Trains and evaluates, or only evaluates a run whose training has ended but whose evaluation has not."""
    folder, log = run_path(settings), logging.getLogger("pipeline")
    trackers = Trackers(settings.train.trackers if accelerator.is_main_process else ())
    trained = on_first_rank(accelerator, lambda: is_trained(folder))
    if trained:
        trackers.start(settings, folder, None)
    if trained or train_run(settings, accelerator, index, table, stop, trackers):
        session = Session(settings, settings, index, accelerator)
        result = evaluate(session).result
        finish(session, result)
        track_results(trackers, folder, result.trial_results)
        on_first_rank(accelerator, lambda: mark_finished(folder, settings.validation.selection))
        log.info(f"{folder}: finished")
    trackers.finish()
    accelerator.wait_for_everyone()
    accelerator.end_training()


def resolve(settings: Settings) -> Settings:
    """Returns the settings of a training with what "auto" stands for in them. Called by one rank."""
    folder = run_path(settings)
    resumed = is_begun(folder) and (folder / "config.yaml").exists()
    begun = as_begun(settings, settings_of(folder)) if resumed else settings
    return method_of(settings).resolved(begun, resumed=resumed)


def track_results(trackers: Trackers, folder: Path, rows: pd.DataFrame) -> None:
    """Gives the means of the results to the trackers, one step behind the last: W&B takes none again after a resume."""
    if trackers.running:
        last = int(read_metrics(folder / "metrics.csv")["step"].max())
        trackers.log(named_means(rows), last + 1)


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    options = read_options(sys.argv[1:] if argv is None else argv)
    settings = load_config(options.arguments, name_required=True)
    folder = run_path(settings)
    check_split_untrained(settings.data, settings.data)
    check_schedule(settings.optimizer)
    check_optimizer(settings.optimizer)
    method_of(settings).views(settings)
    # these raise now what evaluation would only raise after the training
    fused_derivatives(settings)
    check_projection(settings)
    check_corruption(settings.evaluation)
    accelerator = create_training_accelerator(settings, str(folder))
    settings = on_first_rank(accelerator, partial(resolve, settings))
    index = on_first_rank(accelerator, lambda: build_divided_index(settings))
    table = build_table(settings, index)
    check_validation(settings, index)
    with contextlib.closing(RunLock(folder)) as lock, StopRequest() as stop:
        holder = on_first_rank(accelerator, lambda: begin(settings, accelerator, lock, index, table))
        if not accelerator.is_main_process:
            check_shared_folder(folder, holder)
        log = start_log(folder if accelerator.is_main_process else None)
        if on_first_rank(accelerator, lambda: is_finished(folder, settings)):
            log.info(f"{folder}: is finished; `python -m pipeline.evaluate {folder}` evaluates it again")
            if accelerator.is_main_process and (folder / "results.csv").exists():
                print(format_summary(summarize(read_rows(folder / "results.csv"))))
            return
        try:
            train_and_evaluate(settings, accelerator, index, table, stop)
        except Exception as error:
            log_failure(log, error)
            raise
