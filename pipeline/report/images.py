"""Images that are part of the page: PNG in `data:` addresses, or the sentence why there is none."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import matplotlib
from matplotlib.figure import Figure
from PIL import Image

from pipeline.figures import style
from pipeline.figures.evaluated_run import LeftOut

RESOLUTION = 150  # pixels an inch


@dataclass(frozen=True)
class PageImage:
    """`address` is empty where there is no image; `text` then says why, and else what is to be seen.

    width: CSS pixels that it is shown in where there is room
    """

    title: str
    text: str
    address: str = ""
    width: int = 0


def encode(image: Figure | Image.Image) -> tuple[str, int]:
    """Returns the `data:` address of an image and the width to show it in."""
    content = io.BytesIO()
    if isinstance(image, Figure):
        image.savefig(content, format="png", dpi=RESOLUTION)
        width = round(image.get_figwidth() * 150)  # an inch is 96 CSS pixels; text of 7 points is small on a screen
    else:
        image.save(content, "PNG", optimize=True)
        width = image.width
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}", width


def page_images(title: str, text: str, make: Callable[[], Mapping[str, Figure | Image.Image]]) -> list[PageImage]:
    """Returns what `make` gives, by name; or one without an image, where the data or the run doesn't allow it."""
    try:
        with matplotlib.rc_context(style.STYLE):
            made = make()
            names = [name.replace("_", " ") if len(made) > 1 else title for name in made]
            return [PageImage(name, text, *encode(made[key])) for name, key in zip(names, made, strict=True)]
    except (LeftOut, ValueError, OSError) as reason:
        return [PageImage(title, f"left out: {reason}")]
