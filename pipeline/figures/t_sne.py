"""Features of some people on a plane (van der Maaten and Hinton, JMLR 2008): colors are people, shapes modalities."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from pipeline.batch import Modality
from pipeline.figures import style
from pipeline.figures.evaluated_run import EvaluatedRun, LeftOut
from pipeline.figures.labels import fit, modality_label, person_labels

MOST = 20  # images of an identity in a modality
FEWEST = 3  # points that a plane can be drawn of
PERPLEXITY = 30.0
MOST_PEOPLE = 2 * len(style.PALETTE)  # that colors, filled and hollow, tell apart
LEGEND_COLUMNS = 5
DISTANCE = {"dot": "cosine"}  # the inner product itself is no distance
SHAPES = {Modality.VISIBLE: "o", Modality.INFRARED: "^"}


def choose_identities(identity: np.ndarray, modality: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Returns at most `count` of the identities that have both modalities, sampled, in ascending order."""
    both = np.intersect1d(*(identity[modality == int(wanted)] for wanted in SHAPES))
    return np.sort(np.random.default_rng(seed).choice(both, min(count, len(both)), replace=False))


def choose_rows(index: pd.DataFrame, rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Returns those of `rows` to draw: of each chosen identity at most MOST sampled images of each modality."""
    identity, modality = (index[name].to_numpy()[rows] for name in ("identity", "modality"))
    generator, chosen = np.random.default_rng(seed), []
    for person in choose_identities(identity, modality, count, seed):
        for wanted in SHAPES:
            own = rows[(identity == person) & (modality == int(wanted))]
            chosen.append(np.sort(generator.choice(own, min(MOST, len(own)), replace=False)))
    return np.concatenate(chosen) if chosen else np.empty(0, dtype=np.int64)


def embed(features: np.ndarray, metric: str, seed: int) -> np.ndarray:
    """Embeds (N, D) as (N, 2), the same for a seed on any number of cores; N >= FEWEST, not all features equal."""
    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    plane = TSNE(metric=DISTANCE.get(metric, metric), perplexity=perplexity, init="pca", random_state=seed)
    with threadpool_limits(1):  # sums in another order move the points, and so few gain nothing by more threads
        return plane.fit_transform(features)


def draw_t_sne(points: np.ndarray, identity: np.ndarray, modality: np.ndarray, names: dict[int, str]) -> Figure:
    """Draws points (N, 2) with the (N,) identity and modality of each, of at most MOST_PEOPLE identities."""
    people = np.unique(identity)
    figure = style.new_figure(72 + 4 * -(-len(people) // LEGEND_COLUMNS))
    axes = figure.subplots()
    for number, person in enumerate(people):
        for wanted, shape in SHAPES.items():
            own = points[(identity == person) & (modality == int(wanted))]
            axes.plot(*own.T, linestyle="none", marker=shape, **looks_of(number))
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True)
    draw_legends(figure, axes, [fit(names[int(person)], 9) for person in people])
    return figure


def draw_legends(figure: Figure, axes: Axes, names: list[str]) -> None:
    """Draws modalities in the plot's corner and people below it, where no points can be."""
    shapes = [Line2D([], [], linestyle="none", marker=shape, color=style.INK) for shape in SHAPES.values()]
    axes.legend(shapes, [modality_label(wanted) for wanted in SHAPES], loc="best", handletextpad=0.2)
    colors = [Line2D([], [], linestyle="none", marker="s", **looks_of(number)) for number in range(len(names))]
    figure.legend(colors, names, loc="outside lower center", ncols=LEGEND_COLUMNS, handletextpad=0.2)


def looks_of(number: int) -> dict:
    """Returns how a marker tells the person: filled in a color, and when all colors are used, hollow."""
    color = style.PALETTE[number % len(style.PALETTE)]
    if number < len(style.PALETTE):
        return {"markerfacecolor": color, "markeredgecolor": style.INK, "markeredgewidth": 0.3}
    return {"markerfacecolor": "none", "markeredgecolor": color, "markeredgewidth": 0.9}


def t_sne(runs: list[EvaluatedRun], identities: int, seed: int) -> dict[str, Figure]:
    """Returns the plane of some people of the first run's test images."""
    run = runs[0]
    rows = choose_rows(run.index, run.rows, identities, seed)
    features = run.features[torch.from_numpy(rows)].cpu().numpy()
    if len(rows) < FEWEST or (features == features[0]).all():
        raise LeftOut(f"of {len(rows)} test images of people with both modalities, the features are all the same")
    points = embed(features, run.settings.evaluation.metric, seed)
    identity, modality = (run.index[name].to_numpy()[rows] for name in ("identity", "modality"))
    return {"t_sne": draw_t_sne(points, identity, modality, person_labels(run.index))}
