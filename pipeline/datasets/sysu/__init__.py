"""SYSU-MM01 (Wu et al., ICCV 2017): six cameras, two of them infrared."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from pipeline.datasets.columns import Layout, columns
from pipeline.datasets.dataset import DataSet, FeatureFiles, Published
from pipeline.datasets.sysu.features import read_matlab_features, save_matlab_features
from pipeline.datasets.sysu.protocol import OFFICIAL_TRIALS, permutations_file, sysu_trials
from pipeline.datasets.sysu.reading import VISIBLE_CAMERAS, modality_of, read_index
from pipeline.protocols import Trial
from pipeline.protocols.galleries import RANDOM_TRIALS
from pipeline.settings import DataSettings, EvaluationSettings

__all__ = ["IMAGES", "SYSU", "VISIBLE_CAMERAS"]

# cam1 .. cam6 of the official split
IMAGES = {
    "train": (4721, 5753, 5929, 4821, 4989, 4000),
    "val": (0, 0, 1980, 990, 984, 0),
    "test": (1374, 1565, 1883, 1918, 1918, 1920),
}


def trials_of(index: pd.DataFrame, data: DataSettings, evaluation: EvaluationSettings) -> list[Trial]:
    """Returns the trials of each `evaluation.modes` and each `evaluation.shots`, as `sysu_trials` makes them."""
    return sysu_trials(
        index,
        data.root,
        evaluation.modes,
        evaluation.shots,
        evaluation.gallery_rule,
        data.test_split,
        evaluation.trials,
    )


def permutations_files(root: Path) -> list[Path]:
    """Returns `rand_perm_cam.mat`, where it is there."""
    file = permutations_file(root)
    return [] if file is None else [file]


SYSU = DataSet(
    name="sysu",
    title="SYSU-MM01",
    read_folder=lambda root, data: read_index(root),
    trials=trials_of,
    published=Published(
        identities={"train": 296, "val": 99, "test": 96},
        images={
            (split, modality_of(camera), camera): count
            for split, counts in IMAGES.items()
            for camera, count in enumerate(counts, 1)
            if count
        },
        galleries={"all": 301, "indoor": 112},  # single-shot
    ),
    trial_numbers={"official": OFFICIAL_TRIALS, "random_seed": RANDOM_TRIALS},
    usual={"shots": "single", "gallery_rule": "official"},
    tables={
        "sysu": Layout(
            "SYSU-MM01, per cent (table 1 of Liu et al., ICPR 2020)",
            [
                column
                for mode in ("all", "indoor")
                for column in columns(f"{mode}-search", mode, (1, 10, 20), dataset="sysu", mode=mode)
            ],
            across="mode",
            literature="sysu_mm01",
        )
    },
    feature_files=FeatureFiles(".mat", "NAME_cam1.mat ... NAME_cam6.mat", read_matlab_features, save_matlab_features),
    protocol_files=permutations_files,
    # val has no images of the indoor search's cameras, and the authors' galleries are those of the test
    validation={"modes": ["all"], "shots": ["single"], "gallery_rule": "random_seed"},
)
