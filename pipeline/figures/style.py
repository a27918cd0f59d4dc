"""How the figures of a paper look: as wide as a column, text of 7 points or more, colors that all readers can tell."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pipeline.files import replace_atomically

COLUMN = 85.0  # millimetres
INCH = 25.4
POINTS = 7.0  # of the smallest text
LINE = 2.8  # millimetres from a line of text to the next
RESOLUTION = 200  # pixels an inch of the PNG files

# Okabe and Ito, "Color Universal Design", 2008; the order puts those first that differ most on white paper.
BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
PALETTE = (BLUE, VERMILLION, GREEN, "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442")
RIGHT, WRONG, INK, FAINT = GREEN, VERMILLION, "#282828", "#d0d0d0"

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": POINTS,
    "axes.titlesize": POINTS,
    "axes.labelsize": POINTS,
    "xtick.labelsize": POINTS,
    "ytick.labelsize": POINTS,
    "legend.fontsize": POINTS,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 3,
    "axes.labelpad": 2,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    "text.parse_math": False,  # a $ in a name is a dollar
    "pdf.fonttype": 42,  # text that can be searched and edited
}


def new_figure(height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """Returns an empty figure, a column wide and `height` millimetres high, without pyplot and so without a screen."""
    return Figure(figsize=(COLUMN / INCH, height / INCH), layout=layout)


def box(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Returns axes without ticks at a place in millimetres from the figure's upper left corner."""
    across, down = (size * INCH for size in figure.get_size_inches())
    axes = figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes


def frame(axes: Axes, color: str, dashes: str | tuple = "solid") -> None:
    """Draws a frame on the edge of axes; dashes are cut off straight, or they would run into one line."""
    place: dict[str, Any] = {"transform": axes.transAxes, "clip_on": False, "fill": False, "capstyle": "butt"}
    axes.add_patch(Rectangle((0, 0), 1, 1, edgecolor=color, linestyle=dashes, linewidth=1.6, **place))


def write(figure: Figure, left: float, top: float, text: str, **looks: Any) -> None:
    """Writes a line of text at a place in millimetres from the upper left corner; its top unless `va` says."""
    across, down = (size * INCH for size in figure.get_size_inches())
    figure.text(left / across, 1 - top / down, text, **{"va": "top", "ha": "left", **looks})


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Writes `name`.png and `name`.pdf into `folder`, the same bytes for the same figure."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png", folder / f"{name}.pdf"]
    options: list[dict[str, Any]] = [{"format": "png"}, {"format": "pdf", "metadata": {"CreationDate": None}}]
    with matplotlib.rc_context(STYLE):
        for path, option in zip(paths, options, strict=True):
            replace_atomically(path, partial(figure.savefig, dpi=RESOLUTION, **option))
    return paths
