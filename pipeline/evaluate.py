"""Evaluation: `python -m pipeline.evaluate RUN|CONFIG... [--save-features FILE] [key=value ...]`.

RUN is a run folder: its trained network, with `evaluation.*`, `loader.*` or `data.*` changed as asked.
CONFIG files instead evaluate the network as training would start with it, or `evaluation.extractor=pixels`.
`--features FILE --dataset NAME --root DIR` judges features made by anybody, without a network (see `feature_files`).
Prints the table of means, adds a row per trial to results.csv of the run folder, and keeps the figures of every query
in its queries/.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from safetensors import SafetensorError, safe_open

from pipeline.build import build_index, build_network, build_table, build_trials, place_network
from pipeline.config import config_hash, is_override, load_config, load_kept
from pipeline.datasets import DATASETS
from pipeline.distributed import create_accelerator, on_first_rank, precision_of
from pipeline.entry import one_line_errors
from pipeline.evaluation.feature_files import (
    authors_files,
    prepare_saving,
    read_features,
    read_index_file,
    save_features,
)
from pipeline.evaluation.features import (
    Extractor,
    extract_features,
    fused_derivatives,
    network_extractor,
    pixels_extractor,
)
from pipeline.evaluation.judging import ORIGIN_COLUMNS, Judged, Tested, describe_run, judge, tested_rows
from pipeline.evaluation.queries import write_queries
from pipeline.evaluation.results import append_rows, format_summary, summarise
from pipeline.models.reid import ReIDNetwork
from pipeline.run.checkpoint import load_weights
from pipeline.run.folder import is_trained, run_path, settings_of, weights_path
from pipeline.run.provenance import UNTRAINED
from pipeline.run.trained_identities import refuse_leak, refuse_trained_split
from pipeline.settings import Settings

CHANGEABLE = ("evaluation.", "loader.", "data.", "train.precision")
OF_A_NETWORK = ("evaluation.extractor", "evaluation.feature", "evaluation.flip", "evaluation.fusion")


def evaluate(
    settings: Settings,
    index: pd.DataFrame,
    extract: Extractor,
    accelerator: Accelerator,
    tested: Tested,
    saved: Path | None = None,
) -> Judged:
    """Results of every trial of the data set's protocol, the same on every rank.

    Features of all images of `data.test_split`, used by a trial or not, are written to `saved` where that is given.
    """
    trials = build_trials(settings, index)
    rows = np.flatnonzero(index["split"] == settings.data.test_split) if saved else tested_rows(trials)
    features = extract_features(extract, index, rows, settings, accelerator)
    described = describe_run(settings, tested, index, precision_of(accelerator))
    if saved and accelerator.is_main_process:
        origin = {name: described[name] for name in ORIGIN_COLUMNS}
        files = save_features(saved, features, index, rows, settings.data, origin)
        print(f"{saved}: features of {len(rows)} images in {len(files)} files")
    trials = [trial.within(rows) for trial in trials]
    share = (accelerator.process_index, accelerator.num_processes)
    return judge(trials, index.iloc[rows].reset_index(drop=True), features, settings, described, share)


def evaluate_trained(
    settings: Settings, kept: Settings, index: pd.DataFrame, accelerator: Accelerator, saved: Path | None = None
) -> Judged:
    """Results of the weights that the run `kept` was saved with, judged as `settings` say."""
    extract = choose_extractor(settings, restore_network(settings, index, kept, accelerator.device), accelerator)
    tested = Tested.load(weights_path(run_path(kept)), kept)
    return evaluate(settings, index, extract, accelerator, tested, saved)


def choose_extractor(settings: Settings, network: ReIDNetwork | None, accelerator: Accelerator) -> Extractor:
    """As `evaluation` says, ValueError where it can't be; `network` may be None for pixels."""
    fused_derivatives(settings)
    if settings.evaluation.extractor == "pixels":
        return pixels_extractor
    return network_extractor(network, settings, accelerator)


def restore_network(
    settings: Settings, index: pd.DataFrame, kept: Settings | None, device: torch.device
) -> ReIDNetwork | None:
    """The network of the run `kept`, or without one that which training would start with; None where pixels are asked
    for.

    Either has a class for each training identity. ValueError where the stored weights aren't those of such a network.
    """
    if settings.evaluation.extractor == "pixels":
        return None
    if kept is None:
        network = build_network(settings, len(build_table(settings, index).identities))
    else:
        file = weights_path(run_path(kept))
        network = build_network(settings, stored_identities(file), weights=False)
        load_weights(network, file)
    return place_network(network, settings, device)


def stored_identities(file: Path) -> int:
    """The number of identities a network was trained on: the data set may have others by now."""
    try:
        with safe_open(file, framework="pt") as weights:
            return weights.get_slice("classifier.weight").get_shape()[0]
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file}: not the weights of a trained network: {error}") from None


def prepare_evaluation(words: list[str]) -> tuple[Settings, Settings | None]:
    """Command-line words -> settings, and those a run was trained with where the first word is its folder."""
    if not words or not Path(words[0]).is_dir():
        return load_config(words, name_required=True), None
    folder = Path(words[0])
    if not (folder / "config.yaml").exists() or not is_trained(folder):
        raise ValueError(f"{folder}: expected a trained run with config.yaml and model.safetensors")
    for word in words[1:]:
        if not word.startswith(CHANGEABLE):
            raise ValueError(f"{word}: a trained run is evaluated with {', '.join(CHANGEABLE)} changed only")
    kept = settings_of(folder)
    settings = load_kept(folder / "config.yaml", words[1:])
    settings.name, settings.output = kept.name, kept.output
    if settings.data.dataset == kept.data.dataset:
        refuse_trained_split(settings.data, kept.data)
    return settings, kept


def finish(settings: Settings, judged: Judged) -> None:
    """Adds the results to the run folder and prints their means. Called by one rank."""
    folder = run_path(settings)
    folder.mkdir(parents=True, exist_ok=True)
    write_queries(folder, judged.queries)
    append_rows(folder / "results.csv", judged.rows)
    print(format_summary(summarise(judged.rows)))
    print(f"per cent; a row per trial in {folder / 'results.csv'}")


def evaluate_network(words: list[str], saved: Path | None) -> None:
    settings, kept = prepare_evaluation(words)
    accelerator = create_accelerator(settings, settings.output)
    set_seed(settings.seed)
    index = on_first_rank(accelerator, lambda: build_index(settings.data))
    if kept:
        refuse_leak(settings, kept, run_path(kept), index)
    if saved:
        prepare_saving(saved, settings.data.dataset)
    if kept:
        judged = evaluate_trained(settings, kept, index, accelerator, saved)
    else:
        network = restore_network(settings, index, None, accelerator.device)
        origin = network.backbone.origin if network else UNTRAINED.weights
        tested = Tested(config_hash(settings), training=replace(UNTRAINED, weights=origin))
        judged = evaluate(settings, index, choose_extractor(settings, network, accelerator), accelerator, tested, saved)
    on_first_rank(accelerator, lambda: finish(settings, judged))
    accelerator.end_training()


def evaluate_features(words: list[str], file: Path, index_file: Path | None) -> None:
    """Judges a file's features. Who made them can't be known: the run's name in the rows says that it is the file."""
    settings = settings_for_features(words, file, index_file)
    accelerator = create_accelerator(settings, settings.output)
    index = read_index_file(index_file) if index_file else build_index(settings.data)
    trials = build_trials(settings, index)
    features, origin = read_features(file, index, tested_rows(trials), settings.data)
    described = describe_run(settings, Tested("unknown"), index, "unknown")
    described |= {"run": f"features:{file}"} | {name: origin.get(name, "unknown") for name in ORIGIN_COLUMNS}
    judged = judge(trials, index, features.to(accelerator.device), settings, described)
    on_first_rank(accelerator, lambda: finish(settings, judged))
    accelerator.end_training()


def settings_for_features(words: list[str], file: Path, index_file: Path | None) -> Settings:
    """The settings to judge a file's features with; ValueError where the words don't say of which data set they are."""
    for word in words:
        if word.startswith(OF_A_NETWORK):
            raise ValueError(f"{word}: says how a network's features are made; those of {file} are made already")
        if Path(word).is_dir():
            raise ValueError(f"{word}: expected no run beside --features, which are judged without a network")
    keys = {word.partition("=")[0] for word in words}
    if "data.dataset" not in keys and all(is_override(word) for word in words):
        raise ValueError("--features: expected --dataset NAME with --root DIR or --index CSV, or a configuration file")
    settings = load_config(words)
    if file.suffix != ".npz":
        authors_files(file, settings.data.dataset)
    if index_file and "data.root" not in keys:
        settings.data.root = str(index_file.parent)
    if "name" not in keys:
        settings.name = f"features-{file.stem}"
    return settings


def read_options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.evaluate", description="Evaluates a run, or features.", allow_abbrev=False
    )
    parser.add_argument("words", nargs="*", metavar="RUN|CONFIG|key=value", help="a run folder, or as for training")
    parser.add_argument("--dataset", help=f"short for data.dataset=...: {', '.join(DATASETS)}")
    parser.add_argument("--root", help="short for data.root=...")
    parser.add_argument("--features", type=Path, metavar="FILE", help="judge these: .npz, or a folder of MATLAB files")
    parser.add_argument("--index", type=Path, metavar="CSV", help="of --features: path,identity,camera,modality,split")
    parser.add_argument("--save-features", type=Path, metavar="FILE", help=".npz; or .mat, SYSU-MM01's six files")
    options, more = parser.parse_known_intermixed_args(argv)
    named = {"data.dataset": options.dataset, "data.root": options.root}
    options.words += [word.lstrip("-") if "=" in word else word for word in more]
    options.words += [f"{key}={value}" for key, value in named.items() if value]
    if options.index and not options.features:
        raise ValueError("--index: lists the images of --features; without them give --root or data.root=")
    if options.features and options.save_features:
        raise ValueError("--save-features: writes what a network extracts; --features is such a file already")
    return options


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    options = read_options(sys.argv[1:] if argv is None else argv)
    if options.features:
        evaluate_features(options.words, options.features, options.index)
    else:
        evaluate_network(options.words, options.save_features)


if __name__ == "__main__":
    main()
