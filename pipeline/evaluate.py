"""Evaluation: `python -m pipeline.evaluate RUN|CONFIG... [key=value ...]`.

RUN is a run folder: its trained network, with `evaluation.*`, `loader.*` or `data.*` changed as asked.
CONFIG files instead evaluate the network as training would start with it, or `evaluation.extractor=pixels`.
Prints the table of means and adds a row per trial to results.csv of the run folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from accelerate import Accelerator
from accelerate.utils import set_seed

from pipeline import protocols
from pipeline.build import build_index, build_network, build_table, build_trials
from pipeline.checkpoint import load_weights
from pipeline.config import config_hash, load_config
from pipeline.distributed import create_accelerator
from pipeline.entry import one_line_errors
from pipeline.features import Extractor, extract_features, network_extractor, pixels_extractor
from pipeline.models.reid import ReIDNetwork
from pipeline.ranking import rank
from pipeline.results import append_rows, format_summary, summarise
from pipeline.run_folder import code_version, is_finished, run_path, settings_of, weights_path
from pipeline.settings import DataSettings, Settings

REPORTED_RANKS = (1, 5, 10, 20)
SPLITTING = ("trial", "test_fraction", "split_seed", "split_file")  # what decides who was trained on
CHANGEABLE = ("evaluation.", "loader.", "data.", "train.precision")


def evaluate(
    settings: Settings, index: pd.DataFrame, extract: Extractor, accelerator: Accelerator, epoch: int
) -> pd.DataFrame:
    """Results of every trial of the data set's protocol, in per cent; one row each, the same on every rank."""
    trials = build_trials(settings, index)
    rows = np.unique(np.concatenate([part for trial in trials for part in (trial.query, trial.gallery)]))
    features = extract_features(extract, index, rows, settings, accelerator)
    run = describe_run(settings, epoch)
    return pd.DataFrame([run | judge(trial, index, features, settings) for trial in trials])


def judge(trial: protocols.Trial, index: pd.DataFrame, features, settings: Settings) -> dict:
    """The protocol's fields and the metrics (per cent) of one trial."""
    identity, camera = index["identity"].to_numpy(), index["camera"].to_numpy()
    exclude = protocols.EXCLUSIONS[trial.exclusion]
    scores = rank(
        features[trial.query],
        features[trial.gallery],
        identity[trial.query],
        identity[trial.gallery],
        exclude(identity[trial.query], camera[trial.query], identity[trial.gallery], camera[trial.gallery]),
        metric=settings.evaluation.metric,
        deduplicate=trial.deduplicate,
        max_rank=max(REPORTED_RANKS),
    )
    ranks = {f"rank_{k}": 100 * float(scores.cmc[k - 1]) for k in REPORTED_RANKS}
    counts = {"queries": scores.counted_queries, "gallery": len(trial.gallery)}
    return trial.fields | counts | ranks | {"mAP": 100 * scores.mAP, "mINP": 100 * scores.mINP}


def describe_run(settings: Settings, epoch: int) -> dict:
    """The columns of a results row that say what was judged, and how."""
    network = settings.evaluation.extractor == "network"
    return {
        "run": settings.name,
        "dataset": settings.data.dataset,
        "split": settings.data.test_split,
        "extractor": settings.evaluation.extractor,
        "feature": settings.evaluation.feature if network else "pixels",
        "metric": settings.evaluation.metric,
        "flip": settings.evaluation.flip,
        "re_ranking": "none",
        "selection": "last",
        "epoch": epoch if network else 0,
        "seed": settings.seed,
        "config": config_hash(settings),
        "code_version": code_version(),
    }


def choose_extractor(settings: Settings, network: ReIDNetwork | None, accelerator: Accelerator) -> Extractor:
    """As `evaluation.extractor` says; `network` may be None for pixels."""
    if settings.evaluation.extractor == "pixels":
        return pixels_extractor
    return network_extractor(network, settings, accelerator)


def restore_network(settings: Settings, index: pd.DataFrame, kept: Settings | None) -> ReIDNetwork:
    """The network of the run `kept`, or without one that which training would start with.

    Either has a class for each training identity.
    """
    trained = kept or settings
    table = build_table(trained, index if trained.data == settings.data else build_index(trained.data))
    network = build_network(settings, len(table.identities), weights=kept is None)
    if kept:
        load_weights(network, weights_path(run_path(kept)))
    return network


def prepare_evaluation(words: list[str]) -> tuple[Settings, Settings | None]:
    """Command-line words -> settings, and those a run was trained with where the first word is its folder."""
    if not words or not Path(words[0]).is_dir():
        return load_config(words, name_required=True), None
    folder = Path(words[0])
    if not (folder / "config.yaml").exists() or not is_finished(folder):
        raise ValueError(f"{folder}: expected a finished run with config.yaml and model.safetensors")
    for word in words[1:]:
        if not word.startswith(CHANGEABLE):
            raise ValueError(f"{word}: a trained run is evaluated with {', '.join(CHANGEABLE)} changed only")
    kept = settings_of(folder)
    settings = load_config([str(folder / "config.yaml"), *words[1:]])
    settings.name, settings.output = kept.name, kept.output
    refuse_leak(settings, kept)
    return settings, kept


def refuse_trained_split(data: DataSettings, trained: DataSettings) -> None:
    """ValueError where a split is both trained on and tested on."""
    if data.test_split in trained.train_splits:
        raise ValueError(
            f"data.test_split: {data.test_split} was trained on (data.train_splits={trained.train_splits}); its "
            f"figures would say nothing"
        )


def refuse_leak(settings: Settings, kept: Settings) -> None:
    """ValueError where the run was trained on identities that another split would test."""
    if settings.data.dataset != kept.data.dataset:
        return
    for name in SPLITTING:
        asked, trained = getattr(settings.data, name), getattr(kept.data, name)
        if asked != trained:
            raise ValueError(
                f"data.{name}: the run was trained with {trained!r}; evaluating it with {asked!r} would test "
                f"identities it was trained on"
            )
    refuse_trained_split(settings.data, kept.data)


def finish(settings: Settings, rows: pd.DataFrame, accelerator: Accelerator) -> None:
    """Adds the rows to the run folder and prints their means; the first rank only."""
    if not accelerator.is_main_process:
        return
    folder = run_path(settings)
    folder.mkdir(parents=True, exist_ok=True)
    append_rows(folder / "results.csv", rows)
    print(format_summary(summarise(rows)))
    print(f"per cent; a row per trial in {folder / 'results.csv'}")


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    settings, kept = prepare_evaluation(sys.argv[1:] if argv is None else argv)
    accelerator = create_accelerator(settings, settings.output)
    set_seed(settings.seed)
    index = build_index(settings.data)
    network = None
    if settings.evaluation.extractor == "network":
        network = restore_network(settings, index, kept).to(accelerator.device)
    extract = choose_extractor(settings, network, accelerator)
    epoch = settings.train.epochs if kept else 0
    finish(settings, evaluate(settings, index, extract, accelerator, epoch), accelerator)
    accelerator.end_training()


if __name__ == "__main__":
    main()
