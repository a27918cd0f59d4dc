"""Pictures that are part of the page: PNG in `data:` addresses, or the sentence why there is none."""

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
class Picture:
    """`address` is empty where there is no picture; `text` then says why, and else what is to be seen.

    width: CSS pixels that it is shown in where there is room
    """

    title: str
    text: str
    address: str = ""
    width: int = 0


def encode(picture: Figure | Image.Image) -> tuple[str, int]:
    """The `data:` address of a picture and the width to show it in."""
    content = io.BytesIO()
    if isinstance(picture, Figure):
        picture.savefig(content, format="png", dpi=RESOLUTION)
        width = round(picture.get_figwidth() * 150)  # an inch is 96 CSS pixels; text of 7 points is small on a screen
    else:
        picture.save(content, "PNG", optimize=True)
        width = picture.width
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}", width


def pictures(title: str, text: str, make: Callable[[], Mapping[str, Figure | Image.Image]]) -> list[Picture]:
    """What `make` gives, by name; or one without a picture, where the user's data or the run doesn't allow it."""
    try:
        with matplotlib.rc_context(style.STYLE):
            made = make()
            names = [name.replace("_", " ") if len(made) > 1 else title for name in made]
            return [Picture(name, text, *encode(made[key])) for name, key in zip(names, made, strict=True)]
    except (LeftOut, ValueError, OSError) as reason:
        return [Picture(title, f"left out: {reason}")]
