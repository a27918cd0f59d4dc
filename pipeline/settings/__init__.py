"""Every setting there is: its name, type, default and meaning. The defaults are the paper's recipe.

`python -m pipeline.config [CONFIG ...]` prints them with their values in a configuration.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from pipeline import parts
from pipeline.settings.evaluation import DIRECTIONS, EvaluationSettings, GalleryRule, ProtocolVariant
from pipeline.settings.images import (
    AugmentSettings,
    BatchSettings,
    DataSettings,
    DeriveSettings,
    Interpolation,
    LearnedDerivation,
    LoaderSettings,
    ModalityAugmentSettings,
)
from pipeline.settings.training import (
    ModelSettings,
    OptimizerSettings,
    PoolingKind,
    Precision,
    Selection,
    Sharing,
    StemDepth,
    TrainSettings,
    ValidationSettings,
)
from pipeline.settings_key import key

__all__ = [
    "AugmentSettings",
    "BatchSettings",
    "DEFAULT_HEADS",
    "DEFAULT_METHOD",
    "DEFAULT_NAME",
    "DIRECTIONS",
    "DataSettings",
    "DeriveSettings",
    "EvaluationSettings",
    "GalleryRule",
    "Interpolation",
    "LearnedDerivation",
    "LoaderSettings",
    "ModalityAugmentSettings",
    "ModelSettings",
    "OptimizerSettings",
    "PAPERS_METHOD",
    "PoolingKind",
    "Precision",
    "ProtocolVariant",
    "Selection",
    "Settings",
    "Sharing",
    "StemDepth",
    "TrainSettings",
    "ValidationSettings",
    "options_of",
]

DEFAULT_NAME = "base_derivative"  # of a method that isn't named
DEFAULT_METHOD = {"type": "one_objective"}  # of a file that names a method
PAPERS_METHOD = DEFAULT_METHOD | {"source": "paper"}
DEFAULT_HEADS = {"global": {"type": "bnneck"}}


def options_of(table: parts.PartTable, value: Any, key_: str, name: str = "") -> parts.PartOptions:
    """Returns the typed options of a part, as `PartTable.options_of`; errors name the full key."""
    try:
        return table.options_of(value, name)
    except ValueError as error:
        raise parts.located(key_, error) from None


@dataclass(frozen=True)
class Settings:
    """Everything. Parts (`pipeline.parts`) are given as mappings and kept as the typed options of each; one that is
    None is left out. Raises ValueError naming the key where a mapping isn't one of a part."""

    name: str | None = key(None, "name of the run; null: from the configuration files, RegDB's trial and the seed")
    output: str = key("runs", "folder of the run folders")
    seed: int = key(0, "of the batches, the augmentation and the initial weights; 0 or more", min=0)
    method: Any = key(PAPERS_METHOD, "what is trained and how its parts work together", part="METHODS")
    data: DataSettings = key(DataSettings, "the data set")
    batch: BatchSettings = key(BatchSettings, "what a global batch holds")
    augment: AugmentSettings = key(AugmentSettings, "pixels")
    derive: DeriveSettings = key(DeriveSettings, "the derivative modalities")
    loader: LoaderSettings = key(LoaderSettings, "speed and place of the loading")
    model: ModelSettings = key(ModelSettings, "the network")
    inserts: dict[str, Any] = key({}, "modules put into the backbone, by name", parts="INSERTS")
    heads: dict[str, Any] = key(DEFAULT_HEADS, "from the backbone's map to features, by name", parts="HEADS")
    losses: dict[str, Any] = key(
        {"identity": {}, "intra": {}, "cross": {}},
        "terms of the loss, by name; the type is the name unless it is given",
        parts="LOSSES",
    )
    optimizer: OptimizerSettings = key(OptimizerSettings, "minimization of the loss")
    train: TrainSettings = key(TrainSettings, "the course of the training")
    validation: ValidationSettings = key(ValidationSettings, "tests on held-out identities during the training")
    evaluation: EvaluationSettings = key(EvaluationSettings, "the test")

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.metadata["parts"]:
                table, found = getattr(parts, field.metadata["parts"]), value.items()
                named = {name: part for name, part in found if part is not None}
                typed = {name: options_of(table, part, f"{field.name}.{name}", name) for name, part in named.items()}
                object.__setattr__(self, field.name, typed)
            elif field.metadata["part"]:
                options = options_of(getattr(parts, field.metadata["part"]), value, field.name)
                object.__setattr__(self, field.name, options)
