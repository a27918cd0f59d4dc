"""Corrupted images of a data set: which they are, and that neither batches, ranks nor packs change them."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.batch import Modality
from pipeline.build import build_index
from pipeline.config import load_config
from pipeline.corruptions.corrupt import corrupt
from pipeline.loading.batches import evaluation_batches
from pipeline.loading.corrupted import CorruptedImages
from pipeline.loading.images import open_images
from pipeline.prepare import pack

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def settings(people, tiny):
    return load_config([*tiny, f"data.root={people}", "evaluation.corruption=random", "loader.image_type=float32"])


@pytest.fixture(scope="module")
def index(settings):
    return build_index(settings.data)


def corrupted(settings, modality=Modality.VISIBLE):
    """The corrupted images of a data set, and its rows of the modality."""
    index = build_index(settings.data)
    source = CorruptedImages(open_images(settings.data.root, index), index, modality, settings)
    return source, np.flatnonzero(index["modality"] == int(modality))


@pytest.mark.parametrize("modality", [Modality.VISIBLE, Modality.INFRARED])
def test_they_are_the_resized_images_corrupted_by_seed_and_path(settings, index, modality):
    source, rows = corrupted(settings, modality)
    none = open_images(settings.data.root, index)
    clean = next(evaluation_batches(none, rows[:6], modality, settings, CPU))
    seen = next(evaluation_batches(source, rows[:6], modality, settings, CPU))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (settings.augment.mean, settings.augment.std))
    for row, before, after in zip(rows, clean, seen, strict=False):
        levels = ((before * std + mean) * 255).round().byte().permute(1, 2, 0).numpy()
        levels = levels[..., :1] if modality is Modality.INFRARED else levels
        name = index["path"][row].removeprefix(f"{settings.data.root}/")
        expected = torch.from_numpy(corrupt(levels, "random", None, settings.seed, name).copy()).permute(2, 0, 1)
        torch.testing.assert_close(after, (expected.expand(3, -1, -1) / 255 - mean) / std)


def test_neither_batches_nor_ranks_nor_threads_change_them(settings):
    source, rows = corrupted(settings)
    whole = source.feed(rows)
    threads = replace(settings, loader=replace(settings.loader, threads=3))
    other, _ = corrupted(replace(threads, evaluation=replace(settings.evaluation, batch=len(rows))))
    alone = [other.feed([row])[0] for row in rows[:5]]
    of_ranks = np.zeros_like(whole)
    for rank in (0, 1):
        of_ranks[rank::2] = other.feed(rows[rank::2])
    np.testing.assert_array_equal(whole[:5], alone)
    np.testing.assert_array_equal(whole, of_ranks)
    seeded, _ = corrupted(replace(settings, seed=1))
    assert sum(np.array_equal(*pair) for pair in zip(whole, seeded.feed(rows), strict=True)) < 3


def test_packs_and_moved_folders_hold_the_same(settings, people, tmp_path):
    source, rows = corrupted(settings)
    moved = shutil.copytree(people, tmp_path / "moved")
    pack(build_index(settings.data), settings, tmp_path / "packed", resized=True, progress=False)
    for root in (moved, tmp_path / "packed"):
        other, own_rows = corrupted(replace(settings, data=replace(settings.data, root=str(root))))
        np.testing.assert_array_equal(source.feed(rows), other.feed(own_rows))
    larger = replace(settings, augment=replace(settings.augment, height=48))
    with pytest.raises(ValueError, match=r"augment.height, augment.width: the pack holds images of 32 x 16"):
        corrupted(replace(larger, data=replace(settings.data, root=str(tmp_path / "packed"))))


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_an_image_that_cannot_be_read_is_named(settings, people, tmp_path, damage):
    root = shutil.copytree(people, tmp_path / "set")
    settings = replace(settings, data=replace(settings.data, root=str(root)))
    source, rows = corrupted(settings)
    file = root / source.path(rows[3])
    file.write_bytes(file.read_bytes()[:200]) if damage == "cut" else file.unlink()
    with pytest.raises(ValueError, match=rf"^{file}: cannot be read as an image: ..."):
        list(evaluation_batches(source, rows[:6], Modality.VISIBLE, settings, CPU))
