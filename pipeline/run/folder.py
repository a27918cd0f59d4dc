"""The folder of a run: `config.yaml`, `env.json`, `log.txt`, `metrics.csv`, `checkpoints/`, `model.safetensors`,
`results.csv`, `finished`, and `split.csv` for a user's own data. What is written when, and what a second start finds.

`python -m pipeline.run.folder CONFIG... [key=value ...]` prints its path, for scripts.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import platform
import subprocess
import sys
from datetime import datetime
from importlib import metadata
from pathlib import Path

import pandas as pd
import torch

from pipeline import __version__
from pipeline.config import decides_weights, describe, load_config, to_yaml
from pipeline.datasets.manifest import write_splits
from pipeline.entry import one_line_errors
from pipeline.files import write_atomically
from pipeline.run.checkpoint import FORMAT_FACT, checkpoints, weights_facts
from pipeline.run.trained_identities import refuse_other_identities, split_path
from pipeline.settings import Settings

PACKAGES = ("torch", "torchvision", "timm", "accelerate", "nvidia-dali-cuda130", "pandas", "numpy", "omegaconf")

FINISHED = "finished"  # the file that says that the results are written too

DRAWN_SPLIT = ("data.test_fraction", "data.split_seed", "data.split_file")  # split.csv says what came of them


def run_path(settings: Settings) -> Path:
    return Path(settings.output) / str(settings.name)


def open_run(settings: Settings, split_of: dict[str, str] | None = None) -> Path:
    """Makes the run folder or checks that it belongs to these settings. Called by one rank.

    `split_of`: the data set's `named_splits`. A folder in which nothing was trained is taken, whosever it was. Else
    raises ValueError naming the first setting that differs or the first identity that is trained on in one of the two
    only, or where `train.resume=never`.
    """
    folder = run_path(settings)
    kept = folder / "config.yaml"
    begun = is_begun(folder)
    if begun and kept.exists():
        refuse_other_run(settings, folder)
        if settings.train.resume == "never":
            raise ValueError(f"{folder}: holds a run already and train.resume is never; choose another name=")
    if begun and split_path(folder).exists():
        refuse_other_identities(settings, split_of or {}, split_path(folder))
    folder.mkdir(parents=True, exist_ok=True)
    if not begun:  # later it would say who is there now, not who was trained on
        split_path(folder).unlink(missing_ok=True)
        if split_of:
            write_splits(split_of, split_path(folder))
    write_atomically(kept, to_yaml(settings))
    write_atomically(folder / "env.json", json.dumps(environment(), indent=2) + "\n")
    return folder


def is_begun(folder: Path) -> bool:
    """Whether something trained is kept in a run folder: a checkpoint, or the weights of the end."""
    return bool(checkpoints(folder / "checkpoints")) or is_trained(folder)


def refuse_other_run(settings: Settings, folder: Path) -> None:
    """ValueError where something was trained in a run folder with other settings, naming the first that differs."""
    kept = folder / "config.yaml"
    if is_begun(folder) and kept.exists():
        refuse_other_settings(settings, load_config([str(kept)]), folder)


def refuse_other_settings(settings: Settings, kept: Settings, folder: Path) -> None:
    by_name = DRAWN_SPLIT if split_path(folder).exists() else ()
    for (name, value, _), (_, before, _) in zip(describe(settings), describe(kept), strict=True):
        if value != before and decides_weights(name) and name not in by_name:
            raise ValueError(
                f"{folder}: belongs to a run with {name}={json.dumps(before)}; found {json.dumps(value)}. "
                f"Choose another name= or take the folder away"
            )


def weights_path(folder: Path) -> Path:
    return folder / "model.safetensors"


def is_trained(folder: Path) -> bool:
    """The weights are written after the last step, before the evaluation."""
    return weights_path(folder).exists()


def is_finished(folder: Path) -> bool:
    """Whether a run is trained and evaluated. Versions without the mark wrote the weights last."""
    if not is_trained(folder):
        return False
    return (folder / FINISHED).exists() or FORMAT_FACT not in weights_facts(weights_path(folder))


def mark_finished(folder: Path) -> None:
    write_atomically(folder / FINISHED, f"{datetime.now():%F %T}\n")


def environment() -> dict:
    """Versions, code and hardware, as far as they can be found out."""
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


def code_version() -> str:
    """`0.1.0+1a2b3c4`, with `.dirty` where tracked files were changed; the version alone outside a git checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=.dirty", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return __version__
    return f"{__version__}+{found.stdout.strip()}" if found.returncode == 0 else __version__


def start_log(folder: Path | None) -> logging.Logger:
    """Lines to the terminal and to log.txt; only errors where `folder` is None (ranks other than the first)."""
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


def read_metrics(path: Path) -> pd.DataFrame:
    """The rows of a metrics.csv as numbers; NaN where a kill cut a row off. Without rows where there is no file yet."""
    if not path.is_file() or not path.stat().st_size:
        return pd.DataFrame(columns=["step", "epoch"], dtype=float)
    return pd.read_csv(path, on_bad_lines="skip").apply(pd.to_numeric, errors="coerce")


class MetricsFile:
    """metrics.csv: one row per interval of steps, appended as they come.

    Rows after the step that the run resumes from, and a row that a kill cut off, are dropped at the start.
    """

    def __init__(self, path: Path, resumed_step: int) -> None:
        self.path = path
        if not path.exists():
            return
        rows = read_metrics(path)
        kept = rows[rows["step"] <= resumed_step].dropna()
        write_atomically(path, kept.to_csv(index=False) if len(kept) else "")

    def append(self, row: dict[str, float]) -> None:
        first = not self.path.exists() or self.path.stat().st_size == 0
        pd.DataFrame([row]).to_csv(self.path, mode="a", header=first, index=False)


def settings_of(folder: Path) -> Settings:
    """The settings a run was trained with."""
    settings = load_config([str(folder / "config.yaml")])
    return dataclasses.replace(settings, name=folder.name, output=str(folder.parent))


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    print(run_path(load_config(sys.argv[1:] if argv is None else argv, name_required=True)))


if __name__ == "__main__":
    main()
