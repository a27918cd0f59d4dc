"""Training curves: the parts of the loss, the learning rate and validations over the epochs, several runs overlaid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from pipeline.figures import style
from pipeline.figures.cmc import DASHES
from pipeline.figures.evaluated_run import LeftOut
from pipeline.figures.labels import fit, run_label
from pipeline.metric_columns import VALIDATION, main_parts
from pipeline.run.metrics import read_metrics

TITLES = {"lr": "learning rate"}  # of columns whose name says too little
TITLES |= {"val_mAP": "validation: mAP", "val_rank_1": "validation: rank-1", "val_mINP": "validation: mINP"}


def training_curves(path: Path) -> pd.DataFrame:
    """Returns the rows of a metrics.csv, without one that a kill cut off. Raises LeftOut where there is none."""
    if not path.is_file() or not path.stat().st_size:
        raise LeftOut(f"{path.name} isn't there or is empty, as for a network that wasn't trained")
    rows = read_metrics(path)
    if "epoch" not in rows or rows["epoch"].notna().sum() == 0:
        raise LeftOut(f"{path.name} has no rows of a training")
    return rows.dropna(subset=["epoch"])


def draw_training(metrics: dict[str, pd.DataFrame]) -> Figure:
    """Draws the rows of metrics.csv by the name of their run; a panel for the loss, for each of its terms, for the
    learning rate, and for each metric of a validation."""
    columns = dict.fromkeys(name for rows in metrics.values() for name in rows)
    shown = [*main_parts([*columns]), "lr", *(name for name in VALIDATION if name in columns)]
    figure = style.new_figure(12 + 24 * len(shown) + 4 * len(metrics))
    panels = figure.subplots(len(shown), sharex=True, squeeze=False)[:, 0]
    lines = {}
    for name, axes in zip(shown, panels, strict=True):
        for number, (run, rows) in enumerate(metrics.items()):
            if name in rows:
                looks: dict[str, Any] = {
                    "color": style.PALETTE[number % len(style.PALETTE)],
                    "linestyle": DASHES[number % len(DASHES)],
                }
                looks |= {"marker": ".", "clip_on": False} if name in VALIDATION else {}  # there may be one only
                drawn = rows[rows[name].notna()]
                lines[run] = axes.plot(drawn["epoch"], drawn[name], **looks)[0]
        axes.set_title(TITLES.get(name, name))
        axes.set_ylim(0, None)
        axes.grid(axis="y", color=style.FAINT, linewidth=0.5)
    panels[-1].set_xlabel("epoch")
    if len(metrics) > 1:
        labels = [fit(run_label(run), 60) for run in lines]
        figure.legend(
            list(lines.values()), [f" {label}" for label in labels], loc="outside lower center", handlelength=3
        )
    return figure
