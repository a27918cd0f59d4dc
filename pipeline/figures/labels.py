"""Text in figures that comes from the data: people, cameras, modalities, whatever their names are."""

from __future__ import annotations

import functools
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

from pipeline.batch import Modality
from pipeline.figures.style import POINTS

FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"  # comes with matplotlib
POINTS_PER_MILLIMETRE = 72 / 25.4


@functools.cache
def pen_font(size: int) -> ImageFont.FreeTypeFont:
    """Returns the figures' font for Pillow; `size` in pixels."""
    return ImageFont.truetype(str(FONT), size)


@functools.cache
def glyphs() -> frozenset[int]:
    """Returns code points that the figures' font has."""
    return frozenset(FT2Font(str(FONT)).get_charmap())


def is_drawable(text: str) -> bool:
    """Returns whether the font has every character and all are printable."""
    return bool(text.strip()) and text.isprintable() and all(ord(character) in glyphs() for character in text)


def person_labels(index: pd.DataFrame, most: float | None = None) -> dict[int, str]:
    """Returns by identity the name that the data gives, where there is one in letters of the font; else the number.

    All are called by number where a name is wider than `most` millimetres: cut off they couldn't be told apart.
    """
    numbers = {int(identity): str(identity) for identity in index["identity"].unique()}
    if "name" not in index:
        return numbers
    people = index.drop_duplicates("identity")
    named = zip(people["identity"], people["name"].astype(str), strict=True)
    names = {int(identity): name for identity, name in named if is_drawable(name)}
    if most is not None and any(width_of(name, POINTS) > most for name in names.values()):
        return numbers
    return numbers | names


def run_label(name: str) -> str:
    """Returns the name of a run, or any other text; characters that the font doesn't have become question marks."""
    return "".join(character if is_drawable(character) or character == " " else "?" for character in name)


def camera_label(camera: int) -> str:
    """Returns `camera 3`; an index has 0 where the camera isn't known."""
    return f"camera {camera}" if camera else "camera unknown"


def modality_label(modality: int) -> str:
    return Modality(modality).key.replace("_", " ")


def width_of(text: str, points: float) -> float:
    """Returns width in millimetres of a line of the figures' font, `points` high."""
    return pen_font(100).getlength(text) / 100 * points / POINTS_PER_MILLIMETRE


def fit(text: str, width: float, points: float = POINTS) -> str:
    """Returns `text`, or its first letter, `…` and its end, which is at most `width` millimetres wide.

    The end is kept because it tells apart names that begin alike: `p…012`.
    """
    if width_of(text, points) <= width:
        return text
    ends = (f"{text[0]}…{text[start:]}" for start in range(2, len(text)))
    return next((short for short in ends if width_of(short, points) <= width), "…")
