"""Sheets of images that a method makes of the same people every so many steps, in `images/` of the run folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageDraw, ImageFont
from torchvision.utils import make_grid

from dali_ops.normalize import Normalization
from pipeline.batch import Modality
from pipeline.files import replace_atomically
from pipeline.loading.batches import evaluation_batches
from pipeline.loading.images import ImageSource, open_images, undecodable
from pipeline.loading.sampling import TrainingTable
from pipeline.normalization import normalization_of
from pipeline.pixels import to_pixels
from pipeline.run.folder import sheet_path
from pipeline.settings import Settings
from pipeline.training.state import Training

PEOPLE, SHEETS = 8, 20  # columns of a sheet; sheets of a training unless it says otherwise
LABEL, MARGIN, INK = 110, 2, (40, 40, 40)

log = logging.getLogger("pipeline")


class Sheets:
    """The sheets of a training. They are for looking at: one that can't be made ends no training.

    settings  those that the method wants its images loaded with (`Method.shown_settings`)
    """

    def __init__(self, settings: Settings, index: pd.DataFrame, table: TrainingTable, device: torch.device) -> None:
        self.settings, self.index, self.device = settings, index, device
        labels = np.unique(np.linspace(0, len(table.identities) - 1, PEOPLE).astype(int))
        self.rows = {base: [rows[label] for label in labels] for base, rows in table.rows.items()}
        self.images: dict[Modality, torch.Tensor] = {}
        self.failed = False

    def due(self, step: int, steps: int) -> bool:
        """Returns whether a sheet follows this step of so many."""
        every = self.settings.train.image_steps or -(-steps // SHEETS)
        return not self.failed and (step == steps or step % every == 0)

    def write(self, training: Training) -> None:
        """Writes the sheet of this step, and gives it to the trackers. Called by the first rank."""
        path = sheet_path(training.folder, training.step)
        try:
            sheet = draw(self.made(training), normalization_of(self.settings))
            path.parent.mkdir(exist_ok=True)
            replace_atomically(path, lambda unfinished: sheet.save(unfinished, "PNG"))
        except (ValueError, OSError, RuntimeError) as error:  # also of DALI, and of a GPU's memory
            self.failed = True
            log.warning(f"{path}: could not be made, nor will the others: {' '.join(str(error).split())}")
        else:
            training.trackers.log_image("images", np.asarray(sheet), training.step)

    @torch.no_grad()
    def made(self, training: Training) -> dict[str, torch.Tensor]:
        """Returns what the method shows, in evaluation mode, which changes neither statistics nor random numbers."""
        if not self.images:
            self.images = {base: self.loaded(base) for base in self.rows}
        method = training.bare_method.eval()
        with training.accelerator.autocast():
            return method.shown(self.images[Modality.VISIBLE], self.images[Modality.INFRARED])

    def loaded(self, base: Modality) -> torch.Tensor:
        source = open_images(self.settings.data.root, self.index)
        rows = np.array([first_image(source, rows, base) for rows in self.rows[base]])
        batches = evaluation_batches(source, rows, base, self.settings, self.device)
        return torch.cat([images.float() for images in batches])


def first_image(source: ImageSource, rows: np.ndarray, base: Modality) -> int:
    """Returns the first of the rows that can be decoded; the first where none can."""
    return next((int(row) for row in rows if not [*undecodable(source, [row], base.key)]), int(rows[0]))


def draw(rows: Mapping[str, torch.Tensor], normalized_by: Normalization) -> Image.Image:
    """Returns a sheet of rows of images, (n, 3, H, W) normalized, each with its name in front."""
    height = next(iter(rows.values())).shape[2]
    images = to_pixels(torch.cat([images.float() for images in rows.values()]), normalized_by)
    count = len(images) // len(rows)
    grid = make_grid(images.permute(0, 3, 1, 2), nrow=count, padding=MARGIN, pad_value=255)
    pixels = Image.fromarray(grid.permute(1, 2, 0).numpy())
    sheet = Image.new("RGB", (LABEL + pixels.width, pixels.height), (255, 255, 255))
    sheet.paste(pixels, (LABEL, 0))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for place, name in enumerate(rows):
        pen.text((4, MARGIN + place * (height + MARGIN) + height // 2 - 8), name, INK, font)
    return sheet
