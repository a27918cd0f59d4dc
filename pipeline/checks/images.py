"""Checks every image: whether it can be read and decoded in full, its header, and whether it is there twice."""

from __future__ import annotations

import hashlib
import io
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image

from dali_ops.check import DecodingCheck
from dali_ops.decode import RESIZED
from pipeline.batch import Modality
from pipeline.checks.problem import ERROR, WARNING, Problem, count_with_first
from pipeline.loading.images import ImageSource

BATCH = 128
MOST_PIXELS = 50_000_000  # of an image that is decoded at all: three bytes each
LONGEST_SIDE = 2_000  # pixels; crops of people are far smaller
SHORTEST_SIDE = 8
DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")  # PIL's names for more than 8 bits a channel
GRAY_MODES = ("1", "L", "LA", *DEEP_MODES)


@dataclass(frozen=True)
class Look:
    """An image before it is decoded: its header. `reason`: why it can't be used, as far as that is known."""

    encoded: np.ndarray
    digest: bytes | None = None
    size: tuple[int, int] | None = None
    mode: str = ""
    reason: str | None = None


def check_images(
    index: pd.DataFrame,
    image_source: ImageSource,
    replaceable: np.ndarray,
    threads: int,
    advance: Callable[[int], object] = lambda count: None,
) -> Iterator[Problem]:
    """Yields the problems of all images of the index, those that can't be used first, one a line.

    replaceable: (rows,) bool, whether training continues without the image (then it is a warning). `advance` is called
    with the number of images done since the last call.
    """
    looks: dict[int, Look] = {}
    for modality in (Modality.VISIBLE, Modality.INFRARED):
        rows = np.flatnonzero(index["modality"] == int(modality))
        own = look_and_decode(image_source, rows, modality, threads, advance)
        for row, look in zip(rows.tolist(), own, strict=True):
            looks[row] = look
            if look.reason is not None:
                yield Problem(
                    WARNING if replaceable[row] else ERROR,
                    image_source.path(row),
                    f"expected an image; found: {look.reason}; copy it again or take it out",
                )
    in_order = [looks[row] for row in range(len(index))]
    yield from check_headers(index, image_source, in_order)
    yield from check_duplicates(index, image_source, [look.digest for look in in_order])


def look_and_decode(
    image_source: ImageSource, rows: np.ndarray, modality: Modality, threads: int, advance: Callable[[int], object]
) -> Iterator[Look]:
    """Yields a look at each row, with the reason where it can't be decoded; without the encoded bytes."""
    check = DecodingCheck(modality.key, batch_size=BATCH, threads=threads)
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(rows), BATCH):
            looks = list(pool.map(lambda row: look_at(image_source, row), rows[start : start + BATCH]))
            hopeful = [look.encoded for look in looks if look.reason is None and image_source.form != RESIZED]
            reasons = iter(check.reasons(hopeful) if hopeful else ())
            for look in looks:
                reason = next(reasons, None) if look.reason is None else look.reason
                yield Look(look.encoded[:0], look.digest, look.size, look.mode, reason)
            advance(len(looks))


def look_at(image_source: ImageSource, row: int) -> Look:
    try:
        encoded = image_source.read(row)
    except ValueError as error:
        return Look(np.empty(0, np.uint8), reason=str(error))
    digest = hashlib.blake2b(encoded.data, digest_size=16).digest()
    if image_source.form == RESIZED:
        return Look(encoded, digest)
    try:
        with Image.open(io.BytesIO(encoded.data)) as image:
            size, mode = image.size, image.mode
    except Image.DecompressionBombError:
        return Look(encoded, digest, reason=f"more than {MOST_PIXELS / 1e6:.0f} million pixels, no crop of a person")
    except Exception:  # PIL raises many kinds for what it doesn't know; DALI decides
        return Look(encoded, digest)
    if size[0] * size[1] > MOST_PIXELS:
        return Look(encoded, digest, size, mode, f"{size[0]} x {size[1]} pixels, no crop of a person")
    return Look(encoded, digest, size, mode)


def check_headers(index: pd.DataFrame, image_source: ImageSource, looks: list[Look]) -> Iterator[Problem]:
    """Yields one problem for each kind of unusual image."""
    visible = (index["modality"] == int(Modality.VISIBLE)).tolist()
    found: defaultdict[str, list[str]] = defaultdict(list)
    for row, look in enumerate(looks):
        if look.size is None or look.reason is not None:
            continue
        width, height = look.size
        for oddity in oddities(look.mode, look.size, visible[row]):
            found[oddity].append(f"{image_source.path(row)}, {width} x {height}")
    for oddity, images in found.items():
        yield Problem(WARNING, count_with_first(len(images), "images", images[0]), oddity)


def oddities(mode: str, size: tuple[int, int], visible: bool) -> Iterator[str]:
    if mode in DEEP_MODES:
        yield "expected 8 bits a channel; found more; the upper 8 are used: convert them if these aren't the right ones"
    if visible and mode in GRAY_MODES:
        yield "expected color in visible images; found one channel; are they infrared?"
    if min(size) < SHORTEST_SIDE:
        yield f"expected {SHORTEST_SIDE} x {SHORTEST_SIDE} pixels or more; found fewer"
    if max(size) > LONGEST_SIDE:
        yield f"expected crops of one person, at most {LONGEST_SIDE} pixels high and wide; found larger images"


def check_duplicates(index: pd.DataFrame, image_source: ImageSource, digests: list[bytes | None]) -> Iterator[Problem]:
    """Yields one problem for each way in which the same file is there twice."""
    same: defaultdict[bytes, list[int]] = defaultdict(list)
    for row, digest in enumerate(digests):
        if digest is not None:
            same[digest].append(row)
    found: defaultdict[str, list[list[int]]] = defaultdict(list)
    for rows in same.values():
        if len(rows) > 1:
            found[kind_of_duplicate(index.iloc[rows])].append(rows)
    for kind, groups in found.items():
        one, other, *_ = groups[0]
        first = f"{image_source.path(one)} and {image_source.path(other)}"
        yield Problem(WARNING, count_with_first(len(groups), "images", first), f"expected once; found {kind}")


def kind_of_duplicate(rows: pd.DataFrame) -> str:
    several = rows[["identity", "modality", "split"]].nunique() > 1
    if several["split"] and "test" in set(rows["split"]):
        return "the same image in test and in training; the metrics would be too good"
    if several["identity"]:
        return "the same image under several identities; correct the labels"
    if several["modality"]:
        return "the same image as visible and as infrared"
    return "the same image twice of one identity"
