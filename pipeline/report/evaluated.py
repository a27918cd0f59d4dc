"""The parts of the report that need a run's network and data: figures of test images, and confused identities."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from pipeline.evaluation.scoring import excluded_pairs
from pipeline.figures.attention import attention
from pipeline.figures.batch import draw_first_batch
from pipeline.figures.distances import distances
from pipeline.figures.evaluated_run import (
    EvaluatedRun,
    evaluate_run,
    group_names,
    of_one_precision,
    trial_distances,
    trial_groups,
)
from pipeline.figures.labels import person_labels
from pipeline.figures.ranked_lists import nearest, ranked_lists
from pipeline.figures.t_sne import t_sne
from pipeline.report.images import PageImage, page_images
from pipeline.run.folder import settings_of, sheets, step_of_sheet

QUERIES, PEOPLE, COLUMNS, CONFUSIONS = 4, 8, 8, 10
TEXTS = {
    "batch": "The first training batch: rows are modalities, columns captured images.",
    "made": "Images that the method made of training images; a column is a person.",
    "ranked lists": "Queries and the first of their galleries; framed by whether it is the same person.",
    "distances": "Distances between images of the same and of different people.",
    "t-SNE": "Features of some test people on a plane: colors are people, shapes modalities.",
    "activation": "Where the last features are large; it says which places contribute much, not what to.",
}


def open_runs(folders: list[Path], checkpoint: str | None = None) -> dict[Path, EvaluatedRun | str]:
    """Returns each folder's run, evaluated; or why it can't be on this machine."""
    found: dict[Path, EvaluatedRun | str] = {}
    for folder in folders:
        first = next((run for run in found.values() if isinstance(run, EvaluatedRun)), None)
        try:
            run = evaluate_run([str(folder)], first.accelerator if first else None, checkpoint)
            if not of_one_precision(run):
                raise ValueError("its precision is another than that of the runs before; give it a report of its own")
            found[folder] = run
        except (ValueError, OSError) as reason:
            found[folder] = str(reason)
    return found


def batch_images(folder: Path) -> list[PageImage]:
    if not (folder / "config.yaml").is_file():
        return [PageImage("batch", "left out: without config.yaml there was no training")]
    return page_images("batch", TEXTS["batch"], lambda: {"batch": draw_first_batch(settings_of(folder), COLUMNS)})


def made_images(folder: Path) -> list[PageImage]:
    """Returns the first and the last sheet of images that the run's method made, if it makes some."""
    found = sheets(folder)
    ends = dict.fromkeys(path for path in (*found[:1], *found[-1:]))
    return [
        image
        for path in ends
        for image in page_images(f"after step {step_of_sheet(path)}", TEXTS["made"], partial(opened, path))
    ]


def opened(path: Path) -> dict[str, Image.Image]:
    return {"made": Image.open(path)}


def run_images(run: EvaluatedRun | str) -> list[PageImage]:
    """Returns all figures of a run's test images, or a sentence instead."""
    if isinstance(run, str):
        left_out = "ranked lists, distances, t-SNE, activation and confusions are left out"
        return [PageImage("test images", f"{left_out}: {run}")]
    made = {
        "ranked lists": lambda: ranked_lists([run], QUERIES, seed=0),
        "distances": lambda: distances([run]),
        "t-SNE": lambda: t_sne([run], PEOPLE, seed=0),
        "activation": lambda: attention([run], seed=0),
    }
    return [image for title, make in made.items() for image in page_images(title, TEXTS[title], make)]


def confusions(run: EvaluatedRun) -> dict[str, pd.DataFrame]:
    """Returns by heading the pairs of people confused most often: whose query found whom first, how often of how many.

    Columns: query of, found, times, of. Over all trials of a mode, number of shots and direction.
    """
    found, groups = {}, trial_groups(run.trials)
    for group, name in group_names(list(groups)).items():
        pairs: Counter[tuple[int, int]] = Counter()
        asked: Counter[int] = Counter()
        for number in groups[group]:
            queries, firsts = first_found(run, number)
            pairs.update(zip(queries, firsts, strict=True))
            asked.update(queries)
        found[name or " ".join(dict.fromkeys(group))] = confusion_table(pairs, asked, person_labels(run.index))
    return found


def first_found(run: EvaluatedRun, number: int) -> tuple[list[int], list[int]]:
    """Returns of each query that is counted its identity and that of the first image of its list."""
    trial, identity = run.trials[number], run.index["identity"].to_numpy()
    counted = np.flatnonzero(~np.isnan(run.scores[number].average_precision))
    excluded = excluded_pairs(run.index, trial.exclusion, trial.query[counted], trial.gallery)
    distances = trial_distances(run, trial)[torch.from_numpy(counted)]
    places = np.concatenate(nearest(distances, excluded.to(distances.device), 1))
    return identity[trial.query[counted]].tolist(), identity[trial.gallery[places]].tolist()


def confusion_table(pairs: Counter, asked: Counter, names: dict[int, str]) -> pd.DataFrame:
    """Returns the worst of the pairs of two identities; equal counts are in the order of the identities."""
    wrong = [(pair, times) for pair, times in pairs.items() if pair[0] != pair[1]]
    worst = sorted(wrong, key=lambda entry: (-entry[1], entry[0]))[:CONFUSIONS]
    lines = [(names[query], names[other], str(times), str(asked[query])) for (query, other), times in worst]
    return pd.DataFrame(lines, columns=["query of", "found", "times", "of"])
