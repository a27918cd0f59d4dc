"""A data set as it is on disk: rows are identities, columns cameras, the cameras of a modality together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from pipeline.build import build_index
from pipeline.cli.figures import read_dataset
from pipeline.config import load_config
from pipeline.figures.labels import camera_label, fit, modality_label, pen_font, person_labels
from pipeline.figures.sheet import FAINT, INK, MARGIN, PAPER, check_at_least_one, decode_image, save_sheet
from pipeline.loading.images import ImageSource, open_images

HEIGHT, WIDTH = 96, 48  # pixels of an image's place
CAPTION, TITLE, LABEL_WIDTH, GAP = 15, 36, 96, 12
TEXT = 11  # pixels
MILLIMETRES = 25.4 / 72  # of a pixel, where a point is one


@dataclass(frozen=True)
class Cell:
    """Of an identity by a camera: the rows of the index that are shown, and how many there are."""

    rows: list[int]
    total: int


def spread(count: int, shown: int) -> np.ndarray:
    """Returns at most `shown` of the numbers 0 .. count - 1, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, shown)).round().astype(int))


def choose_identities(index: pd.DataFrame, count: int) -> list[int]:
    """Returns identities that are evenly spread over the index and thereby over its splits."""
    identities = index["identity"].unique()
    return [int(identity) for identity in identities[spread(len(identities), count)]]


def choose_columns(index: pd.DataFrame) -> list[tuple[int, int]]:
    """Returns the (modality, camera) pairs there are, in ascending order."""
    return sorted({(int(m), int(c)) for m, c in zip(index["modality"], index["camera"], strict=True)})


def choose_cell(index: pd.DataFrame, identity: int, modality: int, camera: int, count: int) -> Cell:
    chosen = (index["identity"] == identity) & (index["modality"] == modality) & (index["camera"] == camera)
    rows = np.flatnonzero(chosen.to_numpy())
    return Cell(rows[spread(len(rows), count)].tolist() if len(rows) else [], len(rows))


def draw_dataset(index: pd.DataFrame, image_source: ImageSource, identities: list[int], each: int) -> Image.Image:
    """Returns the sheet, with at most `each` images of an identity by a camera.

    One that can't be decoded is crossed out, and its path printed.
    """
    columns = choose_columns(index)
    wide = each * (WIDTH + MARGIN) + GAP
    tall = HEIGHT + CAPTION + MARGIN
    sheet = Image.new("RGB", (LABEL_WIDTH + len(columns) * wide, TITLE + len(identities) * tall), PAPER)
    pen = ImageDraw.Draw(sheet)
    draw_titles(pen, columns, wide)
    split_of = dict(zip(index["identity"], index["split"], strict=True))
    names = person_labels(index)
    for row, identity in enumerate(identities):
        top = TITLE + row * tall
        write_line(pen, (MARGIN, top + HEIGHT // 2 - TEXT - 2), names[identity], LABEL_WIDTH - 2 * MARGIN)
        write_line(pen, (MARGIN, top + HEIGHT // 2 + 2), split_of[identity], LABEL_WIDTH - 2 * MARGIN)
        for column, (modality, camera) in enumerate(columns):
            cell = choose_cell(index, identity, modality, camera, each)
            draw_cell(sheet, pen, cell, image_source, (LABEL_WIDTH + column * wide, top))
    return sheet


def draw_titles(pen: ImageDraw.ImageDraw, columns: list[tuple[int, int]], wide: int) -> None:
    for column, (modality, camera) in enumerate(columns):
        left = LABEL_WIDTH + column * wide
        if column == 0 or columns[column - 1][0] != modality:
            write_line(pen, (left, 2), modality_label(modality), wide - GAP)
        write_line(pen, (left, 2 + TITLE // 2), camera_label(camera), wide - GAP)


def draw_cell(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, cell: Cell, image_source: ImageSource, place: tuple[int, int]
) -> None:
    left, top = place
    for number, row in enumerate(cell.rows):
        draw_image(sheet, pen, image_source, row, (left + number * (WIDTH + MARGIN), top))
    caption = f"{len(cell.rows)} of {cell.total}" if cell.rows else "none"
    write_line(pen, (left, top + HEIGHT + 1), caption, WIDTH)


def draw_image(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, image_source: ImageSource, row: int, place: tuple[int, int]
) -> None:
    left, top = place
    right, bottom = left + WIDTH - 1, top + HEIGHT - 1
    pen.rectangle((left, top, right, bottom), fill=FAINT)
    try:
        image = decode_image(image_source, row)
    except ValueError as error:
        print(error)
        pen.line((left + 2, top + 2, right - 2, bottom - 2), fill=INK, width=2)
        pen.line((left + 2, bottom - 2, right - 2, top + 2), fill=INK, width=2)
        return
    scale = min(WIDTH / image.width, HEIGHT / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    sheet.paste(image.resize(size), (left + (WIDTH - size[0]) // 2, top + (HEIGHT - size[1]) // 2))


def write_line(pen: ImageDraw.ImageDraw, place: tuple[int, int], text: str, width: int) -> None:
    pen.text(place, fit(text, width * MILLIMETRES, TEXT), INK, pen_font(TEXT))


def main(argv: list[str]) -> None:
    options = read_dataset(argv)
    check_at_least_one(options, "identities", "images")
    data = load_config(options.arguments, name_required=True).data
    index = build_index(data)
    identities = choose_identities(index, options.identities)
    save_sheet(draw_dataset(index, open_images(data.root, index), identities, options.images), options.out)
