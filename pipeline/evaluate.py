"""Evaluation: `python -m pipeline.evaluate RUN|CONFIG... [key=value ...]`.

RUN is a run folder: its trained network, with `evaluation.*`, `loader.*` or `data.*` changed as asked.
CONFIG files instead evaluate the network as training would start with it, or `evaluation.extractor=pixels`.
Prints the table of means and adds a row per trial to results.csv of the run folder.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from accelerate import Accelerator
from accelerate.utils import set_seed
from safetensors import SafetensorError, safe_open

from pipeline import protocols
from pipeline.build import build_index, build_network, build_table, build_trials
from pipeline.checkpoint import load_weights, save_weights, weights_facts
from pipeline.config import config_hash, load_config
from pipeline.distributed import create_accelerator
from pipeline.entry import one_line_errors
from pipeline.features import Extractor, extract_features, network_extractor, pixels_extractor
from pipeline.models.reid import ReIDNetwork
from pipeline.ranking import rank
from pipeline.results import append_rows, format_summary, summarise
from pipeline.run_folder import code_version, is_finished, run_path, settings_of, weights_path
from pipeline.settings import Settings
from pipeline.trained_identities import refuse_leak, refuse_trained_split

REPORTED_RANKS = (1, 5, 10, 20)
CHANGEABLE = ("evaluation.", "loader.", "data.", "train.precision")


@dataclass(frozen=True)
class Tested:
    """The network that is judged: hash of the configuration it was trained with, epochs trained, and how many images
    were drawn in the place of others that could not be decoded."""

    config: str
    epoch: int = 0
    replaced_images: int = 0

    def save(self, network: ReIDNetwork, path: Path) -> None:
        """The network's weights, with what is known of it."""
        save_weights(network, path, {name: str(value) for name, value in asdict(self).items()})

    @classmethod
    def load(cls, path: Path) -> Tested:
        facts = weights_facts(path)
        return cls(facts["config"], int(facts["epoch"]), int(facts["replaced_images"]))


def evaluate(
    settings: Settings,
    index: pd.DataFrame,
    extract: Extractor,
    accelerator: Accelerator,
    tested: Tested,
) -> pd.DataFrame:
    """Results of every trial of the data set's protocol, in per cent; one row each, the same on every rank."""
    trials = build_trials(settings, index)
    rows = np.unique(np.concatenate([part for trial in trials for part in (trial.query, trial.gallery)]))
    features = extract_features(extract, index, rows, settings, accelerator)
    run = describe_run(settings, tested)
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


def describe_run(settings: Settings, tested: Tested) -> dict:
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
        "epoch": tested.epoch if network else 0,
        "replaced_images": tested.replaced_images if network else 0,
        "seed": settings.seed,
        "config": tested.config,
        "code_version": code_version(),
    }


def choose_extractor(settings: Settings, network: ReIDNetwork | None, accelerator: Accelerator) -> Extractor:
    """As `evaluation.extractor` says; `network` may be None for pixels."""
    if settings.evaluation.extractor == "pixels":
        return pixels_extractor
    return network_extractor(network, settings, accelerator)


def restore_network(settings: Settings, index: pd.DataFrame, kept: Settings | None) -> ReIDNetwork:
    """The network of the run `kept`, or without one that which training would start with.

    Either has a class for each training identity. ValueError where the stored weights aren't those of such a network.
    """
    if kept is None:
        return build_network(settings, len(build_table(settings, index).identities))
    file = weights_path(run_path(kept))
    network = build_network(settings, stored_identities(file), weights=False)
    load_weights(network, file)
    return network


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
    if not (folder / "config.yaml").exists() or not is_finished(folder):
        raise ValueError(f"{folder}: expected a finished run with config.yaml and model.safetensors")
    for word in words[1:]:
        if not word.startswith(CHANGEABLE):
            raise ValueError(f"{word}: a trained run is evaluated with {', '.join(CHANGEABLE)} changed only")
    kept = settings_of(folder)
    settings = load_config([str(folder / "config.yaml"), *words[1:]])
    settings.name, settings.output = kept.name, kept.output
    if settings.data.dataset == kept.data.dataset:
        refuse_trained_split(settings.data, kept.data)
    return settings, kept


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
    if kept:
        refuse_leak(settings, kept, run_path(kept), index)
    network = None
    if settings.evaluation.extractor == "network":
        network = restore_network(settings, index, kept).to(accelerator.device)
    extract = choose_extractor(settings, network, accelerator)
    tested = Tested.load(weights_path(run_path(kept))) if kept else Tested(config_hash(settings))
    finish(settings, evaluate(settings, index, extract, accelerator, tested), accelerator)
    accelerator.end_training()


if __name__ == "__main__":
    main()
