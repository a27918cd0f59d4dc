"""Evaluates features from a file, without a network: `python -m pipeline.evaluate --features`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.build import build_index, build_trials
from pipeline.config import is_override, load_config
from pipeline.distributed import create_accelerator
from pipeline.evaluation.evaluator import ORIGIN_COLUMNS, EvaluationResult, evaluate_features, row_context, tested_rows
from pipeline.evaluation.feature_files import authors_files, read_features, read_index_file
from pipeline.evaluation.model_info import ModelInfo
from pipeline.evaluation.session import Session
from pipeline.settings import Settings

OF_NETWORKS = ("extractor", "feature", "similarity", "flip", "stems", "fusion", "projection")
OF_IMAGES = ("corruption", "corruption_level", "corrupted")
NETWORK_KEYS = tuple(f"evaluation.{name}" for name in (*OF_NETWORKS, *OF_IMAGES))


def evaluate_file(
    arguments: Sequence[str], file: Path, index_file: Path | None = None
) -> tuple[Session, EvaluationResult]:
    """Evaluates the features of a file; `index_file` lists the images where the data set itself isn't there.

    Their origin can't be known: the run's name in the rows of results is the file's.
    """
    settings = settings_for_features(arguments, file, index_file)
    accelerator = create_accelerator(settings, settings.output)
    index = read_index_file(index_file) if index_file else build_index(settings.data)
    trials = build_trials(settings, index)
    features, origin = read_features(file, index, tested_rows(trials), settings.data)
    # The features' origin, as the file gives it, replaces the facts of a network.
    context = row_context(settings, ModelInfo("unknown"), index, "unknown")
    context |= {"run": f"features:{file}"} | {name: origin.get(name, "unknown") for name in ORIGIN_COLUMNS}
    result = evaluate_features(features.to(accelerator.device), index, trials, settings, context)
    return Session(settings, None, index, accelerator), result


def settings_for_features(arguments: Sequence[str], file: Path, index_file: Path | None) -> Settings:
    """Returns the settings to evaluate a file's features with.

    Raises ValueError where the arguments don't name their data set, or set an option of a network.
    """
    for argument in arguments:
        if argument.startswith(NETWORK_KEYS):
            raise ValueError(f"{argument}: says how a network's features are made; those of {file} are made already")
        if Path(argument).is_dir():
            raise ValueError(f"{argument}: expected no run with --features, which are evaluated without a network")
    keys = {argument.partition("=")[0] for argument in arguments}
    if "data.dataset" not in keys and all(is_override(argument) for argument in arguments):
        raise ValueError("--features: expected --dataset NAME with --root DIR or --index CSV, or a configuration file")
    settings = load_config([*arguments])
    if file.suffix != ".npz":
        authors_files(file, settings.data.dataset)
    # The other files of a data set are looked for in the folder of the list of images.
    if index_file and "data.root" not in keys:
        settings = replace(settings, data=replace(settings.data, root=str(index_file.parent)))
    return settings if "name" in keys else replace(settings, name=f"features-{file.stem}")
