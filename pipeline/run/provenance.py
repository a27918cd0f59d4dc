"""The facts of a training beyond its settings, which leave them to the launcher, the machine and timm.

Kept in training.json of the run folder, which grows with each start, and in the header of the weights; columns of every
row of results. A run isn't resumed where its weights would then be of two kinds.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from accelerate import Accelerator

from pipeline import __version__
from pipeline.distributed import precision_of
from pipeline.files import write_atomically
from pipeline.loading.hardware import dali_pipelines
from pipeline.models.norm import choose_norm
from pipeline.run.checkpoint import checkpoints
from pipeline.settings import Settings

UNKNOWN, NONE = "unknown", "none"
PRECISION_VARIABLE = "ACCELERATE_MIXED_PRECISION"


@dataclass(frozen=True)
class Stretch:
    """A start of a training that resumes from `step`.

    ranks: of the job, 0 where it isn't known; decode: where images are decoded, cpu or mixed (GPU).
    """

    step: int
    ranks: int
    decode: str
    code_version: str


@dataclass(frozen=True)
class TrainingFacts:
    """The facts that hold for the whole of a training, and its stretches.

    train_set   digest of the identities and images (`TrainingData.digest`)
    weights     what the backbone started from, `weights_origin`
    precision   fp32, bf16 or fp16
    norm        batch-norm statistics: global (of all ranks), local (of each) or frozen
    image_type  of the images that the network was given
    """

    train_set: str
    weights: str
    precision: str
    norm: str
    image_type: str
    stretches: tuple[Stretch, ...] = ()

    def until(self, step: int) -> TrainingFacts:
        """Returns the facts of the training as far as `step`: stretches that begin there, or later, are dropped."""
        return replace(self, stretches=tuple(stretch for stretch in self.stretches if stretch.step < step))

    def columns(self) -> dict[str, str]:
        """Returns the columns of a row of results."""
        ranks = [str(stretch.ranks) if stretch.ranks else UNKNOWN for stretch in self.stretches]
        return {
            "train_set": self.train_set,
            "weights": self.weights,
            "train_precision": describe_precision(self.precision, self.image_type),
            "norm": self.norm,
            "train_code_version": in_order(stretch.code_version for stretch in self.stretches),
            "ranks": in_order(ranks),
            "decode": in_order(stretch.decode for stretch in self.stretches),
        }

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> TrainingFacts:
        """Returns the facts that `to_json` wrote. Raises ValueError where they aren't."""
        try:
            values = json.loads(text)
            return cls(**values | {"stretches": tuple(Stretch(**stretch) for stretch in values["stretches"])})
        except (TypeError, KeyError) as error:
            raise ValueError(f"expected the facts of a training; found {error}") from None


def in_order(values: Iterable[str]) -> str:
    """Returns `a, b`: each once; `none` where there are none."""
    return ", ".join(dict.fromkeys(values)) or NONE


UNTRAINED = TrainingFacts(NONE, NONE, NONE, NONE, "float32")


def describe_precision(precision: str, image_type: str) -> str:
    """Returns `bf16`, or `bf16 of float16 images` where these are shorter than float32."""
    return precision if image_type == "float32" else f"{precision} of {image_type} images"


def starting_facts(settings: Settings, accelerator: Accelerator) -> TrainingFacts:
    """Returns the facts of a start with this launcher on this machine; its data and its weights aren't known yet."""
    ranks = accelerator.num_processes
    _, place = dali_pipelines(settings.loader, accelerator.device)
    return TrainingFacts(
        UNKNOWN,
        UNKNOWN,
        precision_of(accelerator),
        choose_norm(settings.train.norm, ranks),
        settings.loader.image_type,
        (Stretch(0, ranks, place["decode"], code_version()),),
    )


def decided_facts(settings: Settings) -> TrainingFacts:
    """Returns the facts that the settings decide, whatever the launcher says; the rest isn't known."""
    norm = UNKNOWN if settings.train.norm == "local" else choose_norm(settings.train.norm, 1)
    return TrainingFacts(UNKNOWN, UNKNOWN, settings.train.precision or UNKNOWN, norm, settings.loader.image_type)


def facts_path(folder: Path) -> Path:
    return folder / "training.json"


def write_facts(folder: Path, facts: TrainingFacts) -> None:
    write_atomically(facts_path(folder), facts.to_json() + "\n")


def read_facts(folder: Path) -> TrainingFacts | None:
    """Returns None for runs that are older than this record. Raises ValueError where it can't be read."""
    file = facts_path(folder)
    if not file.exists():
        return None
    try:
        return TrainingFacts.from_json(file.read_text())
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def older_facts(folder: Path, kept: Settings) -> TrainingFacts:
    """Returns the facts that settings and checkpoints tell of a run without the record."""
    setting, ranks = kept.train.norm, ranks_of_checkpoints(folder)
    norm = choose_norm(setting, ranks) if setting != "local" or ranks else UNKNOWN
    stretch = Stretch(0, ranks, UNKNOWN, UNKNOWN)
    return TrainingFacts(UNKNOWN, UNKNOWN, kept.train.precision or UNKNOWN, norm, kept.loader.image_type, (stretch,))


def ranks_of_checkpoints(folder: Path) -> int:
    """Returns the ranks by the random states that each saved in the newest checkpoint; 0 where there is none."""
    found = checkpoints(folder / "checkpoints")
    return len([*found[-1].glob("random_states_*.pkl")]) if found else 0


def check_same_facts(now: TrainingFacts, before: TrainingFacts, folder: Path, settings: Settings) -> None:
    """Raises ValueError where a run would resume in another precision, with other statistics or with other images."""
    for name, said in (
        ("precision", said_of_precision(settings)),
        ("norm", f"train.norm={settings.train.norm}" + "".join(f", on {it.ranks} processes" for it in now.stretches)),
        ("image_type", f"loader.image_type={settings.loader.image_type}"),
    ):
        kept, found = getattr(before, name), getattr(now, name)
        if UNKNOWN not in (kept, found) and kept != found:
            key = "loader.image_type" if name == "image_type" else f"train.{name}"
            raise ValueError(
                f"{folder}: {key}: the run was begun with {kept}; found {found} ({said}). "
                f"Resume as it began, or choose another name="
            )


def said_of_precision(settings: Settings) -> str:
    if settings.train.precision is not None:
        return f"train.precision={settings.train.precision}"
    launcher = os.environ.get(PRECISION_VARIABLE)
    return f"train.precision is null and {PRECISION_VARIABLE} " + (f"is {launcher}" if launcher else "isn't set")


def resumed_facts(before: TrainingFacts, facts: TrainingFacts, step: int) -> TrainingFacts:
    """Returns the facts of a training that a start of `facts` resumes from `step`.

    Stretches of which nothing is left, as they began no earlier, are dropped.
    """
    return replace(before, stretches=(*before.until(step).stretches, replace(facts.stretches[-1], step=step)))


def record_weights(folder: Path, origin: str) -> None:
    """Records the weights a run begins from, in a folder that `open_run` has opened. Called by one rank.

    Raises ValueError where it resumes and began from other weights.
    """
    facts = read_facts(folder)
    if facts is None:
        return
    if not checkpoints(folder / "checkpoints"):
        write_facts(folder, replace(facts, weights=origin))
    elif facts.weights not in (UNKNOWN, origin):
        raise ValueError(
            f"{folder}: model.backbone, model.weights: the run was begun from {facts.weights}; found {origin}. "
            f"Give the weights it began from, or choose another name="
        )


def code_version() -> str:
    """Returns `0.1.0+1a2b3c4`, with `.dirty` where tracked files were changed; the version alone outside a git
    checkout."""
    here = Path(__file__)
    if not ask_git(here.parent, "ls-files", here.name):  # installed: what lies around it is another project
        return __version__
    commit = ask_git(here.parent, "describe", "--always", "--dirty=.dirty", "--exclude=*")
    return f"{__version__}+{commit}" if commit else __version__


def ask_git(folder: Path, *arguments: str) -> str:
    """Returns what git prints about a folder; nothing where it fails or isn't there."""
    try:
        found = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""
