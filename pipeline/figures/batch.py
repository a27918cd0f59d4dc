"""A training batch: a row for each modality, a column for each captured pair."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw

from dali_ops.normalize import Normalization
from pipeline.batch import Batch, Modality
from pipeline.build import build_divided_index, build_table
from pipeline.cli.figures import read_batch
from pipeline.config import load_config
from pipeline.figures.labels import modality_label, pen_font
from pipeline.figures.sheet import INK, MARGIN, PAPER, check_at_least_one, save_sheet
from pipeline.loading.batches import training_batches
from pipeline.normalization import normalization_of
from pipeline.pixels import to_pixels
from pipeline.settings import Settings

LABEL_WIDTH, TITLE_HEIGHT = 130, 20  # pixels


def first_batch(settings: Settings) -> Batch:
    """Returns batch 0 of the training, on the CPU or the GPU as training would have it."""
    index = build_divided_index(settings)
    table = build_table(settings, index)
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    batches = training_batches(index, table, settings, device)
    try:
        return next(batches)
    finally:
        batches.close()


def to_image(image: torch.Tensor, normalized_by: Normalization) -> Image.Image:
    """Returns the RGB image of a normalized (3, H, W)."""
    return Image.fromarray(to_pixels(image[None], normalized_by)[0].numpy())


def draw_batch(batch: Batch, columns: int, normalized_by: Normalization) -> Image.Image:
    """Returns a sheet: modalities below each other, and side by side the images that the same rows of the plan gave."""
    modalities = [Modality(value) for value in dict.fromkeys(batch.modality)]
    count = len(batch) // len(modalities)
    shown = np.unique(np.linspace(0, count - 1, min(columns, count)).astype(int))
    height, width = batch.images.shape[2:]
    size = (LABEL_WIDTH + len(shown) * (width + MARGIN), TITLE_HEIGHT + len(modalities) * (height + MARGIN))
    sheet = Image.new("RGB", size, PAPER)
    pen, font = ImageDraw.Draw(sheet), pen_font(12)
    for column, number in enumerate(shown):
        left = LABEL_WIDTH + column * (width + MARGIN)
        pen.text((left, 2), f"{int(batch.identity[number])}", INK, font)
        for row, modality in enumerate(modalities):
            top = TITLE_HEIGHT + row * (height + MARGIN)
            sheet.paste(to_image(batch.images[row * count + number], normalized_by), (left, top))
            if column == 0:
                pen.text((MARGIN, top + height // 2 - 8), modality_label(modality), INK, font)
    pen.text((MARGIN, 2), "identity", INK, font)
    return sheet


def draw_first_batch(settings: Settings, columns: int) -> Image.Image:
    """Returns the sheet of the training's `first_batch`."""
    return draw_batch(first_batch(settings), columns, normalization_of(settings))


def main(argv: list[str]) -> None:
    options = read_batch(argv)
    check_at_least_one(options, "columns")
    settings = load_config(options.arguments, name_required=True)
    save_sheet(draw_first_batch(settings, options.columns), options.out)
