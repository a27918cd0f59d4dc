"""Queries and the first of the gallery as the network ranks it, right and wrong ones framed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from pipeline.evaluation.scoring import excluded_pairs
from pipeline.figures import style
from pipeline.figures.evaluated_run import EvaluatedRun, group_names, trial_distances, trial_groups
from pipeline.figures.labels import person_labels
from pipeline.figures.sheet import decode_image
from pipeline.loading.images import ImageSource, open_images

FIRST = 10  # of the gallery
PIXELS = (96, 192)  # width and height of an image in the figure

# Millimetres.
EDGE, QUERY_LEFT, PITCH, GAP = 0.5, 3.6, 7.35, 1.0
WIDTH, HEIGHT, HEAD, FOOT = 6.5, 13.0, 3.6, 4.2
TALL = HEIGHT + 2 * style.LINE + 1.4


@dataclass(frozen=True)
class RankedList:
    """A query and the first of its gallery; rows are of the index.

    query             row
    gallery           (at most FIRST,) int64 rows, the nearest first
    right             (as gallery,) bool, whether it is the query's identity
    average_precision of the whole list, in [0, 1]
    """

    query: int
    gallery: np.ndarray
    right: np.ndarray
    average_precision: float


def hardest_queries(average_precision: np.ndarray, count: int) -> np.ndarray:
    """Returns places of the `count` counted queries (not NaN) with the least average precision, the worst first."""
    order = np.argsort(average_precision, kind="stable")  # NaN is sorted to the end
    return order[: min(count, np.count_nonzero(~np.isnan(average_precision)))]


def random_queries(average_precision: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Returns places of `count` counted queries (not NaN), sampled without repetition, in ascending order."""
    counted = np.flatnonzero(~np.isnan(average_precision))
    return np.sort(np.random.default_rng(seed).choice(counted, min(count, len(counted)), replace=False))


def nearest(distances: torch.Tensor, excluded: torch.Tensor, count: int) -> list[np.ndarray]:
    """Returns the places in each query's gallery, the nearest first, Q arrays, of (Q, G) distances and (Q, G) bool.

    Excluded ones are left out, also where that leaves fewer than `count`. Equal distances keep the gallery's order.
    """
    order = distances.masked_fill(excluded, float("inf")).argsort(dim=1, stable=True)[:, :count]
    kept = ~excluded.gather(1, order)
    return [places[keep] for places, keep in zip(order.cpu().numpy(), kept.cpu().numpy(), strict=True)]


def rank_queries(run: EvaluatedRun, number: int, queries: np.ndarray) -> list[RankedList]:
    """Returns the lists of some queries (places in the trial's) of the run's trial `number`."""
    trial, identity = run.trials[number], run.index["identity"].to_numpy()
    distances = trial_distances(run, trial)[torch.from_numpy(queries)]
    excluded = excluded_pairs(run.index, trial.exclusion, trial.query[queries], trial.gallery).to(distances.device)
    lists = []
    for place, found in zip(queries, nearest(distances, excluded, FIRST), strict=True):
        query, gallery = int(trial.query[place]), trial.gallery[found]
        precision = float(run.scores[number].average_precision[place])
        lists.append(RankedList(query, gallery, identity[gallery] == identity[query], precision))
    return lists


def draw_ranked_lists(lists: list[RankedList], run: EvaluatedRun, image_source: ImageSource) -> Figure:
    """Draws a row for each query: the query, then its list from left to right."""
    figure = style.new_figure(HEAD + len(lists) * TALL + FOOT, layout=None)
    people, camera = person_labels(run.index, most=PITCH - 0.4), run.index["camera"].to_numpy()
    identity = run.index["identity"].to_numpy()

    def draw(row: int, left: float, top: float, mark: str, color: str, dashes: str | tuple) -> None:
        axes = style.box(figure, left, top, WIDTH, HEIGHT)
        axes.imshow(shrink(decode_image(image_source, row)), aspect="auto", interpolation="none")
        style.frame(axes, color, dashes)
        looks = {"ha": "center", "color": color}
        where = f"c{camera[row]}" if camera[row] else ""
        style.write(figure, left + WIDTH / 2, top + HEIGHT + 0.7, people[int(identity[row])], **looks)
        style.write(figure, left + WIDTH / 2, top + HEIGHT + 0.7 + style.LINE, f"{where} {mark}".strip(), **looks)

    draw_head(figure)
    for number, ranked in enumerate(lists):
        top = HEAD + number * TALL
        precision = f"AP {100 * ranked.average_precision:.1f} %"
        style.write(figure, EDGE, top + HEIGHT / 2, precision, rotation=90, va="center")
        draw(ranked.query, QUERY_LEFT, top, "", style.INK, "solid")
        for place, (row, right) in enumerate(zip(ranked.gallery, ranked.right, strict=True)):
            looks = ("✓", style.RIGHT, "solid") if right else ("✗", style.WRONG, (0, (2, 1.2)))
            draw(int(row), gallery_left(place), top, *looks)
    draw_foot(figure, HEAD + len(lists) * TALL, "identity, camera" if camera.any() else "identity")
    return figure


def gallery_left(place: int) -> float:
    return QUERY_LEFT + PITCH + GAP + place * PITCH


def shrink(image: Image.Image) -> Image.Image:
    """Returns an image in the one shape in which the network sees all of them."""
    return image.resize(PIXELS, reducing_gap=2)


def draw_head(figure: Figure) -> None:
    style.write(figure, QUERY_LEFT + WIDTH / 2, EDGE, "query", ha="center")
    for place in range(FIRST):
        style.write(figure, gallery_left(place) + WIDTH / 2, EDGE, f"{place + 1}", ha="center")


def draw_foot(figure: Figure, top: float, below: str) -> None:
    style.write(figure, QUERY_LEFT, top, f"below: {below}")
    style.write(figure, style.COLUMN - EDGE - 26, top, "✓ same identity", color=style.RIGHT, ha="right")
    style.write(figure, style.COLUMN - EDGE, top, "✗ another identity", color=style.WRONG, ha="right")


def ranked_lists(runs: list[EvaluatedRun], queries: int, seed: int) -> dict[str, Figure]:
    """Returns two sheets of the first run for each mode, number of shots and direction, of its first trial."""
    run = runs[0]
    image_source = open_images(run.settings.data.root, run.index)
    groups = trial_groups(run.trials)
    figures = {}
    for group, name in group_names(list(groups)).items():
        number = groups[group][0]
        precision = run.scores[number].average_precision
        chosen = {"hardest": hardest_queries(precision, queries), "random": random_queries(precision, queries, seed)}
        for which, places in chosen.items():
            file = "_".join(part for part in ("ranked_lists", which, name) if part)
            figures[file] = draw_ranked_lists(rank_queries(run, number, places), run, image_source)
    return figures
