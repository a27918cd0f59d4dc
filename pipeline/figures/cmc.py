"""CMC curves: how often one of the first k people is the right one; means over trials, several runs overlaid."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.evaluation.ranking import Scores
from pipeline.figures import style
from pipeline.figures.evaluated_run import EvaluatedRun, group_names, trial_groups
from pipeline.figures.labels import fit, run_label, width_of

LARGEST_RANK = 20  # that is drawn
DASHES = ("solid", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))
MARKERS = "osD^vPX*"
NARROW, LEGEND_LINE = 28.0, 3.9  # millimetres: of a label that another may stand beside, and from one to the next


def mean_cmc(scores: list[Scores]) -> np.ndarray:
    """Returns (LARGEST_RANK,) in [0, 1]: the mean over trials, each of which counts the same."""
    return np.mean([score.cmc[:LARGEST_RANK] for score in scores], axis=0)


def mean_curves(runs: list[EvaluatedRun]) -> dict[tuple[int, tuple[str, ...]], np.ndarray]:
    """Returns the curve by (number of the run, group of trials)."""
    return {
        (number, group): mean_cmc([run.scores[trial] for trial in trials])
        for number, run in enumerate(runs)
        for group, trials in trial_groups(run.trials).items()
    }


def draw_cmc(curves: dict[tuple[int, tuple[str, ...]], np.ndarray], names: list[str]) -> Figure:
    """Draws a curve for each run and group: of several runs the color says which, the dashes tell groups apart."""
    groups = group_names(list(dict.fromkeys(group for _, group in curves)))
    numbers = {group: number for number, group in enumerate(groups)}
    labels = [
        curve_label(names[run] if len(names) > 1 or not groups[group] else "", groups[group]) for run, group in curves
    ]
    columns = 2 if max(width_of(label, style.POINTS) for label in labels) < NARROW else 1
    figure = style.new_figure(54 + LEGEND_LINE * -(-len(labels) // columns))
    axes, lines = figure.subplots(), []
    for (run, group), curve in curves.items():
        color = run if len(names) > 1 else numbers[group]
        lines += axes.plot(
            np.arange(1, len(curve) + 1),
            100 * curve,
            color=style.PALETTE[color % len(style.PALETTE)],
            linestyle=DASHES[numbers[group] % len(DASHES)],
            marker=MARKERS[color % len(MARKERS)],
            markevery=[0, *range(4, len(curve), 5)],
        )
    label_axes(axes)
    figure.legend(lines, labels, loc="outside lower center", ncols=columns, handlelength=3)
    return figure


def curve_label(run: str, group: str) -> str:
    label = ", ".join(part for part in (fit(run_label(run), 30), group.replace("_", " ")) if part)
    return f" {label}" if label.startswith("_") else label  # matplotlib hides labels that begin with _


def label_axes(axes: Axes) -> None:
    axes.set(xlabel="rank", ylabel="cumulative matches (%)")
    axes.set(xlim=(0.5, LARGEST_RANK + 0.5), ylim=(0, 103), xticks=[1, *range(5, LARGEST_RANK + 1, 5)])
    axes.grid(axis="y", color=style.FAINT, linewidth=0.5)
    axes.set_axisbelow(True)


def cmc(runs: list[EvaluatedRun]) -> dict[str, Figure]:
    return {"cmc": draw_cmc(mean_curves(runs), [str(run.settings.name) for run in runs])}
