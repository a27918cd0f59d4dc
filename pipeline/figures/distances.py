"""How far apart features of the same and of different people are, within a modality and across modalities."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure

from pipeline.batch import Modality
from pipeline.evaluation.distances import DISTANCES
from pipeline.figures import style
from pipeline.figures.evaluated_run import EvaluatedRun
from pipeline.figures.labels import modality_label

BINS, BLOCK = 60, 512
PAIRS = (
    (Modality.VISIBLE, Modality.VISIBLE),
    (Modality.INFRARED, Modality.INFRARED),
    (Modality.VISIBLE, Modality.INFRARED),
)
AXIS = {"cosine": "cosine distance", "euclidean": "squared Euclidean distance", "dot": "negative inner product"}


@dataclass(frozen=True)
class Histogram:
    """Numbers of pairs by distance, both (BINS,) int64: of one identity, of two."""

    same: np.ndarray
    different: np.ndarray


def pair_distances(
    features: torch.Tensor, identity: np.ndarray, modality: np.ndarray, metric: str, pair: tuple[Modality, Modality]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Returns distances of all pairs of N images, one of each modality of `pair`, and whether they are of one identity.

    Within a modality each two images once, and none with itself. In blocks: (n,) float64, (n,) bool.
    """
    first, second = (np.flatnonzero(modality == int(wanted)) for wanted in pair)
    distances_of = DISTANCES[metric](features[torch.from_numpy(second)])
    for start in range(0, len(first), BLOCK):
        block = first[start : start + BLOCK]
        distances = distances_of(features[torch.from_numpy(block)]).double().cpu().numpy()
        same = identity[block][:, None] == identity[second][None, :]
        counted = np.ones_like(same) if pair[0] != pair[1] else block[:, None] < second[None, :]
        yield distances[counted], same[counted]


def histograms(
    features: torch.Tensor, identity: np.ndarray, modality: np.ndarray, metric: str
) -> tuple[np.ndarray, dict[tuple[Modality, Modality], Histogram]]:
    """Returns edges (BINS + 1,) float64, and the histogram of each of PAIRS; the edges span all distances."""
    data = (features, identity, modality, metric)
    bounds = [(d.min(), d.max()) for pair in PAIRS for d, _ in pair_distances(*data, pair) if len(d)]
    low, high = (min(low for low, _ in bounds), max(high for _, high in bounds)) if bounds else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1e-6, BINS + 1)
    found = {}
    for pair in PAIRS:
        counts = np.zeros((2, BINS), dtype=np.int64)
        for distances, same in pair_distances(*data, pair):
            counts[0] += np.histogram(distances[same], edges)[0]
            counts[1] += np.histogram(distances[~same], edges)[0]
        found[pair] = Histogram(*counts)
    return edges, found


def shares(counts: np.ndarray) -> np.ndarray:
    """Returns (BINS,) per cent of all pairs; zeros where there is no pair."""
    return 100 * counts / max(1, counts.sum())


def draw_distances(edges: np.ndarray, found: dict[tuple[Modality, Modality], Histogram], metric: str) -> Figure:
    figure = style.new_figure(82)
    panels = figure.subplots(len(found), sharex=True)
    looks = {
        "same": ("same identity", style.BLUE, "solid"),
        "different": ("different identities", style.VERMILLION, (0, (3, 1))),
    }
    for axes, ((first, second), histogram) in zip(panels, found.items(), strict=True):
        for which, (label, color, dashes) in looks.items():
            values = shares(getattr(histogram, which))
            axes.stairs(values, edges, fill=True, color=color, alpha=0.2, linewidth=0)
            axes.stairs(values, edges, color=color, linestyle=dashes, linewidth=1.1, label=label)
        axes.set_title(" to ".join(dict.fromkeys((modality_label(first), modality_label(second)))), loc="left")
        axes.set(ylim=(0, None), xlim=(edges[0], edges[-1]))
    panels[0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0, borderpad=0)
    panels[1].set_ylabel("pairs (%)")
    panels[-1].set_xlabel(AXIS[metric])
    return figure


def distances(runs: list[EvaluatedRun]) -> dict[str, Figure]:
    """Returns histograms of all pairs of the first run's test images, also those that the protocol doesn't rank."""
    run = runs[0]
    identity, modality = (run.index[name].to_numpy()[run.rows] for name in ("identity", "modality"))
    metric = run.settings.evaluation.metric
    edges, found = histograms(run.features[torch.from_numpy(run.rows)], identity, modality, metric)
    return {"distances": draw_distances(edges, found, metric)}
