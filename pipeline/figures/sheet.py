"""Shared by sheets of images: colors, decoding, checking options, saving."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from pipeline.files import replace_atomically
from pipeline.loading.images import ImageSource

MARGIN = 4  # pixels
INK, PAPER, FAINT = (40, 40, 40), (255, 255, 255), (235, 235, 235)


def decode_image(image_source: ImageSource, row: int) -> Image.Image:
    """Returns a row of the index as RGB, turned as its EXIF orientation says.

    Raises ValueError, one line with the path, where it can't be read or decoded.
    """
    try:
        kept = image_source.read(row)
        if kept.ndim == 3:  # pixels of a resized pack: (height, width, 1 or 3)
            return Image.fromarray(np.broadcast_to(kept, (*kept.shape[:2], 3)))
        return decode(kept.tobytes())
    except (ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "not an image" if isinstance(error, Image.UnidentifiedImageError) else error
        raise ValueError(f"{image_source.path(row)}: cannot be read as an image: {reason}") from None


def decode(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content)) as encoded:
        image = ImageOps.exif_transpose(encoded)
        if image.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
            image = Image.fromarray((np.asarray(image) / 257).clip(0, 255).astype(np.uint8))
        return image.convert("RGB")


def check_at_least_one(options: argparse.Namespace, *names: str) -> None:
    for name in names:
        if getattr(options, name) < 1:
            raise ValueError(f"--{name}: expected at least 1; found {getattr(options, name)}")


def save_sheet(sheet: Image.Image, path: Path) -> None:
    """Writes a PNG and prints its name and size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_atomically(path, lambda unfinished: sheet.save(unfinished, "PNG"))
    print(f"{path}: {sheet.width} x {sheet.height} pixels")
