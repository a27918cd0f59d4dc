"""The folder of a run: `config.yaml`, `env.json`, `training.json`, `training_data.json`, `log.txt`, `metrics.csv`,
`checkpoints/`, `model.safetensors`, `results.csv`, `finished`, `split.csv` for a user's own data and `ancestors/` of a
run that starts from another: which of them is written when, and what a second start finds. `pipeline.evaluation.hcml`
adds `hcml.safetensors`.

`python -m pipeline.run.folder CONFIG... [key=value ...]` prints its path, for scripts.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import platform
import sys
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import torch

from pipeline.config import describe, load_config, load_kept, read_kept, to_yaml
from pipeline.datasets.manifest import write_splits
from pipeline.errors import one_line_errors
from pipeline.files import write_atomically
from pipeline.recipe import decides_weights
from pipeline.run.ancestors import ancestors, keep_ancestors, lineage
from pipeline.run.checkpoint import checkpoints, newest_step, weights_facts
from pipeline.run.more_epochs import asks_for_more, check_more_epochs, keep_shorter
from pipeline.run.provenance import (
    UNKNOWN,
    TrainingFacts,
    check_same_facts,
    code_version,
    decided_facts,
    older_facts,
    read_facts,
    resumed_facts,
    write_facts,
)
from pipeline.run.trained import is_trained, weights_path
from pipeline.run.trained_identities import check_same_identities, split_path
from pipeline.run.training_data import TrainingData, check_same_data
from pipeline.settings import Precision, Settings

PACKAGES = ("torch", "torchvision", "timm", "accelerate", "nvidia-dali-cuda130", "pandas", "numpy", "omegaconf")

FINISHED = "finished"  # the file that says that the results are written too

SAMPLED_SPLIT = ("data.test_fraction", "data.split_seed", "data.split_file")  # split.csv says what came of them


def run_path(settings: Settings) -> Path:
    return Path(settings.output) / str(settings.name)


def open_run(
    settings: Settings,
    split_of: dict[str, str] | None = None,
    data: TrainingData | None = None,
    facts: TrainingFacts | None = None,
) -> Path:
    """Makes the run folder or checks that it belongs to these settings. Called by one rank.

    `split_of`: the data set's `named_splits`; `data`: what is trained on; `facts`: of this start. A folder in which
    nothing was trained is taken, whosever it was. Else raises ValueError naming the first setting or fact of the
    launcher that differs, the first identity that is trained on in one of the two only, what else differs in the data,
    or where `train.resume=never`. A run that is to go on for more epochs, and can, is then no longer trained.
    """
    folder = run_path(settings)
    before = None
    if is_begun(folder):
        before = check_same_start(settings, folder, split_of or {}, data, facts)
        if is_trained(folder) and is_to_go_on(settings, folder):
            keep_shorter(folder, folder / FINISHED)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        keep_data(folder, split_of, data)
        keep_ancestors(folder, settings.model.weights)
    write_atomically(folder / "config.yaml", to_yaml(with_precision(settings, before or facts)))
    if not is_trained(folder):  # else this start trains nothing
        add_environment(folder)
        if facts:
            facts = facts if data is None else dataclasses.replace(facts, train_set=data.digest)
            write_facts(folder, resumed_facts(before, facts, newest_step(folder / "checkpoints")) if before else facts)
    return folder


def check_same_start(
    settings: Settings, folder: Path, split_of: dict[str, str], data: TrainingData | None, facts: TrainingFacts | None
) -> TrainingFacts | None:
    """Returns the facts of what was trained in a folder, as far as they are known. Raises as `open_run` says."""
    before = check_same_run(settings, folder, facts)
    if settings.train.resume == "never":
        raise ValueError(f"{folder}: holds a run already and train.resume is never; choose another name=")
    if split_path(folder).exists():
        check_same_identities(settings, split_of, split_path(folder))
    if data:
        check_same_data(data, folder, settings.data.root)
    return before


def keep_data(folder: Path, split_of: dict[str, str] | None, data: TrainingData | None) -> None:
    """Records the data of a run that begins: later the data set may hold something else."""
    split_path(folder).unlink(missing_ok=True)
    if split_of:
        write_splits(split_of, split_path(folder))
    if data:
        data.save(folder)


def ancestors_of(settings: Settings) -> list[Path]:
    """Returns the ancestors of a run, those its folder has or, where nothing was trained yet, will have."""
    folder = run_path(settings)
    return ancestors(folder) if is_begun(folder) else lineage(settings.model.weights)


def is_begun(folder: Path) -> bool:
    """Whether something trained is kept in a run folder: a checkpoint, or the weights of the end."""
    return bool(checkpoints(folder / "checkpoints")) or is_trained(folder)


def check_same_run(settings: Settings, folder: Path, facts: TrainingFacts | None = None) -> TrainingFacts | None:
    """Returns the facts of what was trained in a run folder; None where nothing was, or its settings aren't kept.

    facts: of a start that would resume it; without them those are compared that the settings decide. Raises ValueError
    naming the first setting or fact that differs.
    """
    kept = folder / "config.yaml"
    if not (is_begun(folder) and kept.exists()):
        return None
    check_same_settings(settings, kept, folder)
    before, now = kept_facts(folder), facts or decided_facts(settings)
    if is_trained(folder) and not is_to_go_on(settings, folder):
        # all that is left, the evaluation, is the same on any number of ranks
        now = dataclasses.replace(now, norm=decided_facts(settings).norm)
    check_same_facts(now, before, folder, settings)
    return before


def check_same_settings(settings: Settings, kept: Path, folder: Path) -> None:
    """Raises ValueError naming the first setting that decides the weights and differs from the one in `kept`."""
    unknown = [name for name in read_kept(kept)[1] if decides_weights(name)]
    if unknown:
        raise ValueError(
            f"{folder}: belongs to a run of another version of the code, with {unknown[0]}, which this one doesn't "
            f"have. Choose another name=, or resume with the version that env.json names"
        )
    others: tuple[str, ...] = SAMPLED_SPLIT if split_path(folder).exists() else ()
    kept_settings = load_kept(kept)
    if asks_for_more(settings, kept_settings):
        check_more_epochs(settings, kept_settings, folder)
        others += ("train.epochs",)
    given, before = values_of(as_begun(settings, kept_settings)), values_of(kept_settings)
    for name in dict.fromkeys([*given, *before]):  # a part may be in one of the two only
        if given.get(name) != before.get(name) and decides_weights(name) and name not in others:
            raise ValueError(
                f"{folder}: belongs to a run with {name}={json.dumps(before.get(name))}; found "
                f"{json.dumps(given.get(name))}. Choose another name= or take the folder away"
            )


def as_begun(settings: Settings, kept: Settings) -> Settings:
    """Returns the settings with what a run was begun with where they leave it to the backbone (`Method.resolved`)."""
    augment, pooling = settings.augment, settings.model.pooling
    augment = dataclasses.replace(augment, mean=augment.mean or kept.augment.mean, std=augment.std or kept.augment.std)
    model = dataclasses.replace(settings.model, pooling=kept.model.pooling if pooling == "auto" else pooling)
    return dataclasses.replace(settings, augment=augment, model=model)


def values_of(settings: Settings) -> dict[str, Any]:
    """Returns the values of all keys by full name."""
    return {name: value for name, value, _ in describe(settings)}


def is_to_go_on(settings: Settings, folder: Path) -> bool:
    """Whether a run is asked for more epochs than it was begun with."""
    return (folder / "config.yaml").exists() and asks_for_more(settings, settings_of(folder))


def kept_facts(folder: Path) -> TrainingFacts:
    """Returns the facts of a run that has begun; what can be known of one that is older than training.json."""
    return read_facts(folder) or older_facts(folder, settings_of(folder))


def with_precision(settings: Settings, facts: TrainingFacts | None) -> Settings:
    """Returns the settings to keep: with the precision that was trained in, so that it is evaluated in the same."""
    precision = settings.train.precision
    if facts and facts.precision != UNKNOWN:
        precision = cast(Precision, facts.precision)
    return dataclasses.replace(settings, train=dataclasses.replace(settings.train, precision=precision))


def is_finished(folder: Path, settings: Settings | None = None) -> bool:
    """Whether a run is trained and evaluated; with settings, to as many epochs and with the weights that they select.

    Versions without the mark wrote the weights last, and less in them.
    """
    if not is_trained(folder) or (settings is not None and is_to_go_on(settings, folder)):
        return False
    if not (folder / FINISHED).exists():
        return "training" not in weights_facts(weights_path(folder))
    return settings is None or settings.validation.selection == tested_selection(folder)


def tested_selection(folder: Path) -> str:
    """Returns the `validation.selection` that a finished run was tested with."""
    words = (folder / FINISHED).read_text().split()
    return words[2] if len(words) > 2 else "last"  # which was the only one at first


def mark_finished(folder: Path, selection: str = "last") -> None:
    write_atomically(folder / FINISHED, f"{datetime.now():%F %T} {selection}\n")


def add_environment(folder: Path) -> None:
    """Adds a start to env.json: a list of the `environment` of each."""
    try:
        before = read_environments(folder)
    except (ValueError, FileNotFoundError):
        before = []  # nothing was kept yet, or nothing that can be read
    write_atomically(folder / "env.json", json.dumps([*before, environment()], indent=2) + "\n")


def read_environments(folder: Path) -> list[dict]:
    """Returns the environment of each start, the first one first; older files hold that of one.

    Raises ValueError or FileNotFoundError where env.json can't be read.
    """
    file = folder / "env.json"
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file, as for a network that wasn't trained")
    try:
        content = json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f"{file}: not JSON: {error}") from None
    starts = content if isinstance(content, list) else [content]
    for start in starts:
        if not isinstance(start, dict):
            raise ValueError(f"{file}: expected names with values; found {type(start).__name__}")
    return starts


def environment() -> dict:
    """Returns versions, code and hardware, as far as they can be found out."""
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return {
        "command": sys.argv,
        "code_version": code_version(),
        "python": platform.python_version(),
        "packages": {name: installed_version(name) for name in PACKAGES},
        "cuda": torch.version.cuda,
        "host": platform.node(),
        "system": platform.platform(),
        "cores": len(os.sched_getaffinity(0)),
        "torch_threads": torch.get_num_threads(),
        "gpus": gpus,
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


def installed_version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def start_log(folder: Path | None) -> logging.Logger:
    """Starts logging to the terminal and to log.txt; only errors where `folder` is None (all ranks but the first)."""
    log = logging.getLogger("pipeline")
    log.handlers.clear()
    log.propagate = False
    log.setLevel(logging.INFO if folder else logging.ERROR)
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    if folder:
        handlers.append(logging.FileHandler(folder / "log.txt"))
        handlers[-1].setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    for handler in handlers:
        log.addHandler(handler)
    return log


def log_failure(log: logging.Logger, error: Exception) -> None:
    """Writes a line to log.txt alone: the terminal gets it from `pipeline.errors`."""
    record = log.makeRecord(log.name, logging.ERROR, __file__, 0, f"error: {error}", (), None)
    for handler in log.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)


def sheet_path(folder: Path, step: int) -> Path:
    """Returns where the images are that a method made after a step."""
    return folder / "images" / f"step-{step:08d}.png"


def step_of_sheet(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))


def sheets(folder: Path) -> list[Path]:
    """Returns the sheets of images of a run, the oldest first."""
    return sorted((folder / "images").glob("step-*.png"))


def settings_of(folder: Path) -> Settings:
    """Returns the settings a run was trained with."""
    settings = load_kept(folder / "config.yaml")
    return dataclasses.replace(settings, name=folder.name, output=str(folder.parent))


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    print(run_path(load_config(sys.argv[1:] if argv is None else argv, name_required=True)))


if __name__ == "__main__":
    main()
