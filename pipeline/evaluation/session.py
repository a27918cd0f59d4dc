"""One way to evaluate, for training, the evaluate command, figures and the report.

session = open_session(["runs/sysu", "evaluation.flip=true"])
evaluation = evaluate(session)
finish(session, evaluation.result)
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed

from pipeline import protocols
from pipeline.build import build_divided_index, build_index, build_trials
from pipeline.config import load_config, load_kept
from pipeline.datasets.held_out import as_validations, is_validated_on
from pipeline.datasets.listing import HELD_OUT
from pipeline.distributed import create_accelerator, on_first_rank
from pipeline.evaluation.corruption import ALL, check_corruption, check_one_corruption, uncorrupted
from pipeline.evaluation.evaluator import ORIGIN_COLUMNS, EvaluationResult, tested_rows
from pipeline.evaluation.feature_files import prepare_saving, save_features
from pipeline.evaluation.features import Extractor
from pipeline.evaluation.model_info import ModelInfo
from pipeline.evaluation.per_query import write_queries
from pipeline.evaluation.re_ranking import choose_re_ranking
from pipeline.evaluation.restore import choose_trained, load_extractor
from pipeline.evaluation.results import append_rows, format_summary, summarize
from pipeline.evaluation.tested import Tested, result_of_corruptions
from pipeline.methods.method import method_of
from pipeline.run.ancestors import ancestors, check_ancestors, lineage
from pipeline.run.chosen import check_choice
from pipeline.run.folder import is_begun, run_path, settings_of
from pipeline.run.trained_identities import check_no_leak, check_split_untrained
from pipeline.settings import Settings

log = logging.getLogger("pipeline")

CHANGEABLE = ("evaluation.", "loader.", "data.", "train.precision")


@dataclass(frozen=True)
class Session:
    """The settings, the run, the data and the device of an evaluation.

    settings    how to evaluate
    kept        what the run was trained with; None for a network as a training would start with it
    index       of the data set, with the identities that the run holds out
    checkpoint  which weights of the run: last, best or a step; None: as the run says
    """

    settings: Settings
    kept: Settings | None
    index: pd.DataFrame
    accelerator: Accelerator
    checkpoint: str | None = None


@dataclass(frozen=True)
class Evaluation:
    """All that came of an evaluation, the same on every rank.

    extractor  with the network, in eval mode
    trials     of the data set's protocol, by row of the index
    rows       (n,) int64, ascending: the rows of the index whose features were extracted
    features   (n, D) float32, on the accelerator's device
    """

    session: Session
    extractor: Extractor
    trials: list[protocols.Trial]
    rows: np.ndarray
    features: torch.Tensor
    result: EvaluationResult


def read_evaluation_arguments(arguments: Sequence[str]) -> tuple[Settings, Settings | None]:
    """Returns the settings to evaluate with, and those that the run was trained with.

    arguments: a run folder and overrides of CHANGEABLE keys; or, as for training, configuration files and overrides,
    and then there is no run. Raises ValueError where the run's folder holds nothing trained, and for a split that it
    was trained on.
    """
    if not arguments or not Path(arguments[0]).is_dir():
        settings = load_config([*arguments], name_required=True)
        check_corruption(settings.evaluation)
        if settings.evaluation.extractor == "network":
            settings = method_of(settings).resolved(settings)
        return settings, None
    folder, overrides = Path(arguments[0]), arguments[1:]
    if not (folder / "config.yaml").exists() or not is_begun(folder):
        raise ValueError(f"{folder}: expected a trained run, with config.yaml and model.safetensors or a checkpoint")
    for override in overrides:
        if not override.startswith(CHANGEABLE):
            raise ValueError(f"{override}: a trained run is evaluated with {', '.join(CHANGEABLE)} changed only")
    kept = settings_of(folder)
    # The folder may have been moved or renamed since: its rows are of the run that it is called now.
    settings = replace(load_kept(folder / "config.yaml", overrides), name=kept.name, output=kept.output)
    if settings.data.dataset == kept.data.dataset:
        check_split_untrained(settings.data, kept.data)
    if is_validated_on(settings.data.test_split, kept):
        settings = as_validated(settings, overrides)
    check_corruption(settings.evaluation)
    return settings, kept


def as_validated(settings: Settings, overrides: Sequence[str]) -> Settings:
    """Returns the settings that test a split as a training validated on it, but for the keys that are overridden."""
    own = as_validations(settings)
    kept = {name: value for name, value in own.items() if not any(f"evaluation.{name}=" in one for one in overrides)}
    return replace(settings, evaluation=replace(settings.evaluation, **kept))


def with_training_splits(settings: Settings, kept: Settings) -> Settings:
    """Returns the settings with the splits that the run was trained on, of which it held identities out."""
    return replace(settings, data=replace(settings.data, train_splits=kept.data.train_splits))


def open_session(
    arguments: Sequence[str], accelerator: Accelerator | None = None, checkpoint: str | None = None
) -> Session:
    """Returns the session of `read_evaluation_arguments`, with the data set read.

    `accelerator` is that of an earlier session of this process, which has one precision; `checkpoint` as in `Session`.
    Called by all ranks. Raises ValueError also where identities would be tested that the run, or one it started from,
    was trained on.
    """
    check_choice(checkpoint)
    settings, kept = read_evaluation_arguments(arguments)
    accelerator = accelerator or create_accelerator(settings, settings.output)
    set_seed(settings.seed)
    # A test knows nothing of the identities held out, and may be of data with too few to hold out any.
    divided = kept is None or settings.data.test_split == HELD_OUT
    dividing = with_training_splits(settings, kept) if kept else settings
    index = on_first_rank(accelerator, lambda: build_divided_index(dividing) if divided else build_index(settings.data))
    if kept and divided and not (index["split"] == HELD_OUT).any():
        raise ValueError(f"data.test_split: {run_path(kept)} holds no identities out; found {HELD_OUT}")
    if kept:
        check_no_leak(settings, kept, run_path(kept), index)
    elif checkpoint:
        raise ValueError(f"checkpoint: {checkpoint} is of a run; expected its folder, found {arguments[0]}")
    check_ancestors(settings, ancestors(run_path(kept)) if kept else lineage(settings.model.weights), index)
    return Session(settings, kept, index, accelerator, checkpoint)


def evaluate(session: Session, save_to: Path | None = None) -> Evaluation:
    """Evaluates the run of the session, or the network that a training would start with. Called by all ranks.

    save_to: a file (see `save_features`) for the features of all images of `data.test_split`, used by a trial or not.
    """
    settings, kept, index, accelerator = session.settings, session.kept, session.index, session.accelerator
    if save_to:
        check_one_corruption(settings.evaluation, "--save-features saves features")
        prepare_saving(save_to, settings.data.dataset)
    trained = choose_trained(kept, accelerator, session.checkpoint)
    extractor = load_extractor(settings, trained, index, accelerator)
    model = trained.info() if trained else ModelInfo.untrained(settings, extractor.network)
    if model.selection != "last":
        step, selection = model.step, model.selection
        log.info(f"{run_path(settings)}: the weights evaluated are those of step {step} ({selection})")
    return evaluate_extractor(session, extractor, model, save_to)


def evaluate_extractor(
    session: Session, extractor: Extractor, model: ModelInfo, save_to: Path | None = None
) -> Evaluation:
    """Evaluates the features of any extractor, of which the rows of results say what `model` does.

    With `evaluation.corruption=all` the features are those of the images as they were captured; `result_of_corruptions`
    says what the result is.
    """
    settings, index, accelerator = session.settings, session.index, session.accelerator
    trials = build_trials(settings, index)
    choose_re_ranking(settings.evaluation)  # raises before the features are extracted
    # Every image's features are extracted once, however many trials use it.
    rows = np.flatnonzero(index["split"] == settings.data.test_split) if save_to else tested_rows(trials)
    tested = Tested(extractor, model, index, trials, rows, accelerator)
    if settings.evaluation.corruption == ALL:
        features = tested.features(uncorrupted(settings))
        result = result_of_corruptions(tested, features, settings)
    else:
        features = tested.features(settings)
        if save_to and accelerator.is_main_process:
            context = tested.context(settings)
            origin = {name: context[name] for name in ORIGIN_COLUMNS}
            files = save_features(save_to, features, index, rows, settings.data, origin)
            print(f"{save_to}: features of {len(rows)} images in {len(files)} files")
        result = tested.result(features, settings)
    return Evaluation(session, extractor, trials, rows, features, result)


def finish(session: Session, result: EvaluationResult) -> None:
    """Adds the results to the run folder and prints their means. Called by all ranks; the first one writes."""
    on_first_rank(session.accelerator, lambda: write_results(run_path(session.settings), result))


def write_results(folder: Path, result: EvaluationResult) -> None:
    """Writes the metrics of every query before the rows that refer to them."""
    folder.mkdir(parents=True, exist_ok=True)
    write_queries(folder, result.query_metrics)
    append_rows(folder / "results.csv", result.trial_results)
    print(format_summary(summarize(result.trial_results)))
    print(f"per cent; a row per trial in {folder / 'results.csv'}")
