"""The plan of a global batch: which rows of the index, and how each of their views is augmented.

A plan is a pure function of (seed, number of the batch). So resuming needs no loader state, every rank can compute
its own share, and a batch is the same on 1, 2 or 64 ranks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import pandas as pd

from dali_ops import parameters as layout
from dali_ops.mixing import MIXINGS
from dali_ops.views import View
from pipeline.batch import Modality
from pipeline.settings import AugmentSettings, BatchSettings, Settings

# modalities in use, in the order of `Modality` -> what their images show
Views = Mapping[Modality, View]

ERASING_ATTEMPTS = 10  # boxes sampled until one fits; as in torchvision's RandomErasing


class Purpose(IntEnum):
    """What random numbers are for. Each has its own: switching one thing off leaves all else as it was."""

    IDENTITIES = 0
    IMAGES = 1
    GEOMETRY = 2
    ERASING = 3
    DERIVATION = 4
    STAGES = 5
    MIXING = 6


@dataclass(frozen=True)
class Random:
    """The random numbers of batch `number` of the stream of batches with that `tag`."""

    seed: int
    number: int
    tag: int = 0

    def of(self, purpose: Purpose, modality: int = 0) -> np.random.Generator:
        """Returns a counter-based generator for a purpose and a modality, independent of all others."""
        key, counter = [self.seed, self.number], [0, self.tag, modality, purpose]
        return np.random.Generator(np.random.Philox(key=key, counter=counter))


@dataclass(frozen=True)
class TrainingTable:
    """The images to train on, by label.

    identities (C,) int64, sorted: the identity of each label
    rows       captured modality -> for each label, the rows of the index (int64)
    """

    identities: np.ndarray
    rows: dict[Modality, list[np.ndarray]]

    def images(self, modality: Modality) -> int:
        return sum(len(rows) for rows in self.rows[modality])


@dataclass(frozen=True)
class Plan:
    """n = identities x images_per_modality images of each captured modality; images of an identity stand together.

    rows       captured modality -> (n,) int64 rows of the index
    labels     (n,) int64
    parameters (n, views, columns) float32, columns as in dali_ops.parameters
    replaced   number of rows that stand in for one that can't be decoded (`pipeline.loading.replacement`)
    """

    rows: dict[Modality, np.ndarray]
    labels: np.ndarray
    parameters: np.ndarray
    replaced: int = 0


def training_table(index: pd.DataFrame, batch: BatchSettings) -> TrainingTable:
    """Returns rows by identity and captured modality, of the identities with images in every captured modality in use.

    Raises ValueError for fewer identities than a batch needs, and for an identity with too few images where
    `repeat_images` is off.
    """
    counts = count_images(index, batch)
    usable = counts.index[(counts > 0).all(axis=1)]
    names = " and ".join(base.key for base in counts)
    if len(usable) < batch.ids_per_batch:
        raise ValueError(
            f"batch.ids_per_batch: expected at most the number of training identities with {names} images, "
            f"{len(usable)}; found {batch.ids_per_batch}"
        )
    rows = {}
    for base in counts:
        of_modality = index[index["modality"] == int(base)]
        groups = of_modality.index.groupby(of_modality["identity"])
        rows[base] = [groups[identity].to_numpy(np.int64) for identity in usable]
        for identity, images in zip(usable, rows[base], strict=True):
            if not batch.repeat_images and len(images) < batch.images_per_modality:
                raise ValueError(
                    f"identity {identity}: expected at least batch.images_per_modality = {batch.images_per_modality} "
                    f"{base.key} images for training; found {len(images)} (batch.repeat_images=true samples them twice)"
                )
    return TrainingTable(usable.to_numpy(np.int64), rows)


def count_images(index: pd.DataFrame, batch: BatchSettings) -> pd.DataFrame:
    """Returns numbers of images: a row for each identity, a column for each captured modality that must be read."""
    bases = captured_modalities(batch)
    counts = pd.crosstab(index["identity"], index["modality"]).reindex(columns=[int(base) for base in bases])
    return counts.fillna(0).astype(int).set_axis(pd.Index(bases, dtype=object), axis=1)


def captured_modalities(batch: BatchSettings) -> list[Modality]:
    """Returns the captured modalities that must be read for those in use, in the order of `Modality`."""
    return sorted({Modality.from_name(name).base for name in batch.modalities})


def steps_per_epoch(images: Iterable[int], settings: Settings) -> int:
    """Returns the optimizer steps of an epoch of so many training images of each captured modality.

    Unless the settings say it: until the modality with more was sampled once on average (as AGW's public recipe).
    """
    batches = -(-max(images) // (settings.batch.ids_per_batch * settings.batch.images_per_modality))
    return settings.train.steps_per_epoch or -(-batches // settings.train.grad_accum_steps)


def identities_of_ranks(identities: int, ranks: int) -> list[int]:
    """Returns how many of a batch's identities each rank has: as evenly as they can be shared, the first ranks more."""
    each, more = divmod(identities, ranks)
    return [each + (rank < more) for rank in range(ranks)]


def plan_batch(
    table: TrainingTable,
    views: Views,
    batch: BatchSettings,
    augment: AugmentSettings,
    seed: int,
    number: int,
    rank: int = 0,
    ranks: int = 1,
    tag: int = 0,
) -> Plan:
    """Plans batch `number` (0, 1, ...) of the stream of batches with that tag; returns the share of `rank`."""
    random = Random(seed, number, tag)
    # Every rank samples the whole batch and then takes its own part, so that a batch doesn't depend on their number.
    labels = random.of(Purpose.IDENTITIES).choice(len(table.identities), batch.ids_per_batch, replace=False)
    # The images of each identity, one captured modality at a time: the derived ones are made of the same.
    rows = {}
    for base in table.rows:
        generator = random.of(Purpose.IMAGES, base)
        rows[base] = np.concatenate(
            [sample_images(table.rows[base][label], batch.images_per_modality, generator) for label in labels]
        )
    labels = np.repeat(labels, batch.images_per_modality)
    # How each view of each image is augmented. The functions fill in their own columns and leave the others 0.
    columns = layout.width(max(len(view.stages) for view in views.values()))
    parameters = np.zeros((len(labels), len(views), columns), np.float32)
    for place, (modality, view) in enumerate(views.items()):
        sample_augmentation(parameters[:, place], modality, augment, random)
        sample_derivation(parameters[:, place], modality, view, augment, random)
    # This rank's identities: images of an identity stand together, so they are one slice.
    shares = identities_of_ranks(batch.ids_per_batch, ranks)
    begin = sum(shares[:rank])
    mine = slice(begin * batch.images_per_modality, (begin + shares[rank]) * batch.images_per_modality)
    return Plan({base: rows[base][mine] for base in rows}, labels[mine], parameters[mine])


def sample_images(rows: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Returns `count` of the rows without repetition; where there are too few, all of them as often as needed."""
    rounds = [generator.permutation(rows) for _ in range(-(-count // len(rows)))]
    return np.concatenate(rounds)[:count]


def sample_augmentation(parameters: np.ndarray, modality: Modality, augment: AugmentSettings, random: Random) -> None:
    """Fills in crop, flip and erased box of a modality's images: (n, columns) float32."""
    source = modality.base if augment.derivative_geometry == "shared" else modality
    augment, count = augment.of(modality), len(parameters)
    parameters[:, layout.GEOMETRY] = sample_geometry(random.of(Purpose.GEOMETRY, source), count, augment)
    if augment.random_erasing_prob > 0:
        parameters[:, layout.ERASING] = sample_erasing(random.of(Purpose.ERASING, source), count, augment)


def sample_derivation(
    parameters: np.ndarray, modality: Modality, view: View, augment: AugmentSettings, random: Random
) -> None:
    """Fills in how a modality's images are derived, and mixed with the captured ones: (n, columns) float32."""
    count = len(parameters)
    numbers, applied = (random.of(purpose, modality) for purpose in (Purpose.DERIVATION, Purpose.STAGES))
    for place, stage in enumerate(view.stages):
        parameters[:, layout.derivation(place)] = stage.derivation.sample(numbers, count)
        parameters[:, layout.applied(place)] = applied.random(count) < stage.probability
    if view.mixing is not None:
        generator = random.of(Purpose.MIXING, modality)
        sampled = MIXINGS[view.mixing].sample(generator, count, augment.height, augment.width)
        parameters[:, layout.MIXING] = sampled * (generator.random((count, 1)) < view.mixing_probability)


def sample_geometry(generator: np.random.Generator, count: int, augment: AugmentSettings) -> np.ndarray:
    """Returns (count, 3): top and left of the crop in the padded image, and whether it is flipped."""
    corner = generator.integers(0, 2 * augment.pad, size=(count, 2), endpoint=True)
    flip = generator.random((count, 1)) < augment.hflip_prob
    return np.concatenate([corner, flip], axis=1)


def sample_erasing(generator: np.random.Generator, count: int, augment: AugmentSettings) -> np.ndarray:
    """Returns (count, 4): top, left, height, width of the erased box; zeros where nothing is erased.

    Area uniform, log of the aspect uniform, the first of ERASING_ATTEMPTS boxes that fits the image.
    """
    size = (count, ERASING_ATTEMPTS)
    area = generator.uniform(*augment.random_erasing_area, size) * augment.height * augment.width
    limit = -np.log(augment.random_erasing_aspect)
    aspect = np.exp(generator.uniform(-limit, limit, size))
    heights, widths = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
    fits = (heights < augment.height) & (widths < augment.width)
    first = (np.arange(count), fits.argmax(axis=1))
    height, width = heights[first], widths[first]
    corner = generator.random((2, count))
    top, left = np.floor(corner[0] * (augment.height - height + 1)), np.floor(corner[1] * (augment.width - width + 1))
    erased = fits.any(axis=1) & (generator.random(count) < augment.random_erasing_prob)
    return np.stack([top, left, height, width], axis=1) * erased[:, None]
