"""The protocol of SYSU-MM01 (Wu et al., ICCV 2017): infrared queries, a few visible images of each camera as gallery.

Two rules for sampling the gallery are in use. `official` reads the authors' `rand_perm_cam.mat` (trials 1-10). Public
PyTorch code samples with Python's `random.seed(trial)` instead (`random_seed`, trials 0-9, single-shot only).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd

from pipeline.batch import Modality
from pipeline.datasets.listing import read_matlab
from pipeline.protocols.galleries import RANDOM_TRIALS, Groups, rows_by_identity_and_camera, rows_of, sample_gallery
from pipeline.protocols.trial import Trial, check_known, check_trials
from pipeline.settings import GalleryRule

MODES = {"all": (1, 2, 4, 5), "indoor": (1, 2)}
SHOTS = {"single": 1, "multi": 10}
RULES = get_args(GalleryRule)
PERMUTATIONS = "rand_perm_cam.mat"
PLACES = ("exp", ".", "data_split")
PERMUTATIONS_ARE = (
    "it holds the authors' choice of gallery images and comes with their evaluation code "
    "(github.com/wuancong/SYSU-MM01, evaluation/data_split)"
)

OFFICIAL_TRIALS = range(1, 11)

# [camera - 1][identity - 1] -> (trials, images) numbers of images, from 1; an empty array where there is no image.
Permutations = list[list[np.ndarray]]


def sysu_trials(
    index: pd.DataFrame,
    root: str | Path,
    modes: Sequence[str] = ("all", "indoor"),
    shots: Sequence[str] = ("single",),
    rule: str = "auto",
    split: str = "test",
    trials: int = 10,
) -> list[Trial]:
    """Returns the first `trials` trials of each mode (all, indoor) and each number of shots (single, multi).

    `rule` auto is official where `rand_perm_cam.mat` is in `root`, `root/exp` or `root/data_split`, else random_seed
    with a warning. The split val has no images of cameras 1 and 2, hence only the mode all. Raises ValueError or
    Raises FileNotFoundError where a trial can't be made as asked.
    """
    check_known(modes, tuple(MODES), "evaluation.modes")
    check_known(shots, tuple(SHOTS), "evaluation.shots")
    check_known([rule], RULES, "evaluation.gallery_rule")
    permutations = find_permutations(rule, Path(root))
    rule = "random_seed" if permutations is None else "official"
    first = (RANDOM_TRIALS if permutations is None else OFFICIAL_TRIALS).start
    check_trials(trials, most=None if permutations is None else len(OFFICIAL_TRIALS))
    if permutations is None and "multi" in shots:
        raise ValueError(
            f"evaluation.shots: multi-shot galleries are defined by {PERMUTATIONS} only; put it into"
            f" {Path(root) / PLACES[0]} and set evaluation.gallery_rule to official or auto, or ask for [single]"
        )
    query = rows_of(index, split, Modality.INFRARED)
    made = []
    for mode in modes:
        groups = rows_by_identity_and_camera(index, rows_of(index, split, Modality.VISIBLE, MODES[mode]))
        for shot, trial in [(shot, first + number) for shot in shots for number in range(trials)]:
            if permutations is None:
                gallery = sample_gallery(groups, trial)
            else:
                gallery = take_gallery(groups, permutations, trial, SHOTS[shot])
            fields = {"mode": mode, "shots": shot, "gallery_rule": rule, "direction": "infrared_to_visible"}
            made.append(Trial(query, gallery, exclude_same_place, True, {**fields, "trial": trial}))
    return made


def exclude_same_place(
    query_identities: np.ndarray, query_cameras: np.ndarray, gallery_identities: np.ndarray, gallery_cameras: np.ndarray
) -> np.ndarray:
    """Returns (Q, G) bool: cameras 3 and 2 stand in one room, so a query of camera 3 skips all of camera 2."""
    return (query_cameras[:, None] == 3) & (gallery_cameras[None, :] == 2)


def find_permutations(rule: str, root: Path) -> Permutations | None:
    """Returns the authors' choice of gallery images, or None for the rule random_seed.

    Where `rand_perm_cam.mat` is missing: FileNotFoundError for the rule official, a warning for auto.
    """
    if rule == "random_seed":
        return None
    file = permutations_file(root)
    if file is not None:
        return read_permutations(file)
    missing = f"{root / PLACES[0] / PERMUTATIONS}: no such file; {PERMUTATIONS_ARE}"
    if rule == "official":
        raise FileNotFoundError(f"{missing}; put it there, or set evaluation.gallery_rule to random_seed")
    warnings.warn(
        f"{missing}; without it galleries are sampled by the rule random_seed: single-shot only, as in much public "
        "code, and not the galleries of the published protocol",
        stacklevel=3,
    )
    return None


def permutations_file(root: Path) -> Path | None:
    """Returns `rand_perm_cam.mat` of a data set, None where it isn't there."""
    files = [root.expanduser() / place / PERMUTATIONS for place in PLACES]
    return next((file for file in files if file.is_file()), None)


def read_permutations(file: Path) -> Permutations:
    """Returns the cells of `rand_perm_cam.mat`; ValueError where `file` is something else."""
    cameras = read_matlab(file, "rand_perm_cam").ravel()
    if cameras.dtype != object or any(camera.dtype != object for camera in cameras):
        raise ValueError(f"{file}: expected rand_perm_cam to be cells of cells; found numbers; download the file again")
    return [[np.atleast_2d(cell).astype(np.int64) for cell in camera.ravel()] for camera in cameras]


def take_gallery(groups: Groups, permutations: Permutations, trial: int, count: int) -> np.ndarray:
    """Returns (G,) int64: of each camera and identity, the first `count` images in the order of row `trial` (from 1).

    Camera by camera, as the authors' MATLAB code has it. Raises ValueError where a permutation isn't one of the images
    found.
    """
    chosen = []
    for identity, camera in sorted(groups, key=lambda group: (group[1], group[0])):
        rows = groups[identity, camera]
        identities = permutations[camera - 1] if camera <= len(permutations) else []
        cell = identities[identity - 1] if identity <= len(identities) else np.empty((0, 0), dtype=np.int64)
        if cell.shape[1] != len(rows):
            raise ValueError(
                f"{PERMUTATIONS}: expected {cell.shape[1]} images of identity {identity} in camera {camera}; found"
                f" {len(rows)}; unpack the data set again, or set evaluation.gallery_rule to random_seed"
            )
        order = cell[trial - 1] if trial <= len(cell) else np.empty(0, dtype=np.int64)
        if not np.array_equal(np.sort(order), np.arange(1, len(rows) + 1)):
            raise ValueError(
                f"{PERMUTATIONS}: row {trial} of camera {camera}, identity {identity} isn't a permutation of"
                f" 1 to {len(rows)}; download the file again"
            )
        chosen.append(rows[order[:count] - 1])
    return np.concatenate(chosen)
