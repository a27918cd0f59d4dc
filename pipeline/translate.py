"""Translates a folder of images: `python -m pipeline.translate RUN FOLDER --out DIR [--modality M] [--style IMAGE]`.

The networks are those of a checkpoint of the run, whose method makes images (docs/methods.md).
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, which take seconds
    from pipeline.cli.console import run_module

    run_module("translate")

import argparse
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from PIL import Image, ImageOps

from pipeline.batch import Modality
from pipeline.build import place_network
from pipeline.checks.identities import OTHER_SUFFIXES
from pipeline.cli.translate import read_options
from pipeline.datasets.listing import IMAGE_SUFFIXES
from pipeline.distributed import create_accelerator
from pipeline.errors import one_line_errors
from pipeline.evaluation.checkpointed import checkpointed_method
from pipeline.files import replace_atomically
from pipeline.loading.batches import evaluation_batches
from pipeline.loading.images import FolderImages, undecodable
from pipeline.methods.method import Method, method_of
from pipeline.normalization import normalization_of
from pipeline.pixels import to_pixels
from pipeline.run.chosen import newest_intact, of_checkpoint
from pipeline.run.folder import settings_of
from pipeline.settings import Settings

FORMATS = {".png": "PNG", ".bmp": "BMP"}  # the others are JPEG
QUALITY = 95  # of JPEG

log = logging.getLogger("pipeline")


@dataclass(frozen=True)
class TranslatingRun:
    """The method of a run with trained weights, and the settings that its images are loaded with."""

    method: Method
    settings: Settings
    accelerator: Accelerator

    @classmethod
    def load(cls, folder: Path, step: int | None) -> TranslatingRun:
        """Returns the run in `folder` after `step`; None: its newest checkpoint. Raises ValueError for other runs."""
        if not (folder / "config.yaml").is_file():
            raise ValueError(f"{folder}: expected a run, with config.yaml and checkpoints; found none")
        kept = settings_of(folder)
        shown = method_of(kept).shown_settings(kept)
        if shown is None:
            raise ValueError(f"{folder}: its method, {kept.method.name}, makes no images")
        expected = "an intact checkpoint, which has all networks, unlike the weights of the end; found none"
        checkpoint = newest_intact(folder, expected) if step is None else of_checkpoint(folder, step, "a step").path
        accelerator = create_accelerator(kept, str(folder))
        method = place_network(checkpointed_method(kept, kept, checkpoint, averaged=False), kept, accelerator.device)
        log.info(f"{folder}: the networks of {checkpoint.name}")
        return cls(method.eval(), shown, accelerator)

    def load_images(self, paths: list[Path], modality: Modality) -> Iterator[torch.Tensor]:
        """Yields images (b, 3, H, W), normalized, of files. Raises ValueError for one that can't be decoded."""
        index = pd.DataFrame({"path": [str(path) for path in paths]})
        rows = np.arange(len(paths))
        return evaluation_batches(FolderImages(index), rows, modality, self.settings, self.accelerator.device)

    @torch.no_grad()
    def translate(self, paths: list[Path], modality: Modality, style: Path | None) -> Iterator[Image.Image]:
        """Yields the translation of each file, in the size that the method makes."""
        style_image = None if style is None else next(self.load_images([style], modality.other)).float()
        for images in self.load_images(paths, modality):
            with self.accelerator.autocast():
                made = self.method.translate(images.float(), modality, style_image)
            yield from map(Image.fromarray, to_pixels(made, normalization_of(self.settings)).numpy())


def find_images(folder: Path) -> list[Path]:
    """Returns the images in a folder and below it, sorted, without hidden ones. Raises ValueError for none."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder of images; found none")
    found = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in IMAGE_SUFFIXES]
    found = [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    if not found:
        raise ValueError(f"{folder}: expected images ({', '.join(IMAGE_SUFFIXES)}); found none")
    if others := sum(path.suffix.lower() in OTHER_SUFFIXES for path in folder.rglob("*")):
        log.warning(f"{folder}: {others} images of other formats left out; read are {', '.join(IMAGE_SUFFIXES)}")
    return found


def decodable(paths: list[Path], modality: Modality) -> list[Path]:
    """Returns those of the files that are images; the others are logged."""
    source = FolderImages(pd.DataFrame({"path": [str(path) for path in paths]}))
    bad = dict(undecodable(source, range(len(paths)), modality.key))
    for row, reason in bad.items():
        log.warning(f"{paths[row]}: left out: {reason}")
    if len(bad) == len(paths):
        raise ValueError(f"{paths[0]}: cannot be read as an image, nor can any other")
    return [path for row, path in enumerate(paths) if row not in bad]


def save(image: Image.Image, source: Path, target: Path, original_size: bool) -> None:
    """Writes an image in the format of its source; in its size, too, if so asked."""
    if original_size:
        with Image.open(source) as opened:
            image = image.resize(ImageOps.exif_transpose(opened).size, Image.Resampling.BICUBIC)
    target.parent.mkdir(parents=True, exist_ok=True)
    kind = FORMATS.get(target.suffix.lower(), "JPEG")
    options = {"quality": QUALITY} if kind == "JPEG" else {}
    replace_atomically(target, lambda unfinished: image.save(unfinished, kind, **options))


def translate_folder(options: argparse.Namespace) -> int:
    """Writes the translations; returns how many."""
    modality = Modality.from_name(options.modality)
    if options.out.resolve().is_relative_to(options.folder.resolve()):
        raise ValueError(f"--out: expected a folder outside of {options.folder}; found {options.out}")
    run, found = TranslatingRun.load(options.run, options.checkpoint), find_images(options.folder)
    targets = {(options.out / path.relative_to(options.folder)).resolve() for path in found}
    if targets & {path.resolve() for path in found}:
        raise ValueError(f"--out: expected a folder whose images aren't those of {options.folder}; found {options.out}")
    paths = decodable(found, modality)
    made = run.translate(paths, modality, options.style)
    for path, image in zip(paths, made, strict=True):
        save(image, path, options.out / path.relative_to(options.folder), options.size == "original")
    return len(paths)


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    options = read_options(sys.argv[1:] if argv is None else argv)
    count = translate_folder(options)
    print(f"{options.out}: {count} images of {options.folder}, translated from {options.modality}")
