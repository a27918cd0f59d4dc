"""Writes data sets: synthetic people in the folder layouts of SYSU-MM01, RegDB, LLCM or a plain folder.

An image is a pure function of the seed, the identity, the camera and its number: the number of workers changes nothing,
and a larger set contains the smaller one's images. `synthetic.json`, written last, marks a complete set and carries its
settings.
"""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from tqdm import tqdm

from pipeline.datasets.marker import MADE_BY
from pipeline.synthetic.dataset_layouts import LAYOUTS, DatasetPlan
from pipeline.synthetic.dataset_shapes import UNIFORM, Shape, scaled
from pipeline.synthetic.rendering import ImageKey, jpeg_quality, render_image
from pipeline.synthetic.shape_files import read_shape
from pipeline.synthetic.sizes import USUAL_IDENTITIES, USUAL_IMAGES, check_number
from pipeline.synthetic.target import mark_complete, prepare_target

VERSION = 1  # of the images; a set of another version is not the same set
CHUNK = 48  # images a worker renders at a time


def generate(
    layout: str,
    root: str | Path,
    identities: int | None = None,
    images_per_camera: int | None = None,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = False,
    force: bool = False,
    scale: float | None = None,
    shape: str | Path | None = None,
) -> int:
    """Writes a data set and returns the number of images rendered: 0 where the same set is already there.

    layout: a key of `LAYOUTS`. The size is one of three: `identities` (None: 40) with `images_per_camera` images by
    each camera (None: the layout's usual number); the share `scale` (0 .. 1] of the published identities (sysu, regdb,
    llcm); every identity as in the CSV file `shape` (sysu; columns: `shape_files.COLUMNS`). workers: processes; None:
    one a processor. An interrupted set is generated again; `force` replaces a generated set of other settings. Raises
    Raises ValueError for numbers out of range, an unusable CSV file, and a root that holds anything else.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout: expected one of {', '.join(LAYOUTS)}; found {layout!r}")
    workers = _processors() if workers is None else workers
    check_number("seed", seed)
    check_number("workers", workers)
    presences, size = _choose_shape(layout, seed, identities, images_per_camera, scale, shape)
    settings = {"made_by": MADE_BY, "version": VERSION, "layout": layout, **size, "seed": seed}
    root = Path(root)
    if not prepare_target(root, settings, force):
        return 0
    plan = LAYOUTS[layout](presences, seed)
    _write_lists(root, plan)
    _write_images(root, plan, workers, progress)
    mark_complete(root)
    return len(plan.images)


def _choose_shape(
    layout: str,
    seed: int,
    identities: int | None,
    images_per_camera: int | None,
    scale: float | None,
    shape: str | Path | None,
) -> tuple[Shape, dict]:
    """Returns the shape of the data set, and the settings that the marker knows it by."""
    is_given = {
        "identities or images_per_camera": identities is not None or images_per_camera is not None,
        "scale": scale is not None,
        "shape": shape is not None,
    }
    if sum(is_given.values()) > 1:
        found = " and ".join(name for name, given in is_given.items() if given)
        raise ValueError(f"size: expected identities and images_per_camera, or scale, or shape; found {found}")
    if scale is not None:
        return scaled(layout, scale, seed), {"scale": float(scale)}
    if shape is not None:
        if layout != "sysu":
            raise ValueError(f"shape: expected the layout sysu; found {layout}")
        presences, digest = read_shape(shape)
        return presences, {"shape_sha256": digest}
    size = {
        "identities": USUAL_IDENTITIES if identities is None else identities,
        "images_per_camera": USUAL_IMAGES[layout] if images_per_camera is None else images_per_camera,
    }
    for name, value in size.items():
        check_number(name, value)
    return UNIFORM[layout](size["identities"], size["images_per_camera"], seed), size


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _write_lists(root: Path, plan: DatasetPlan) -> None:
    from scipy.io import savemat  # only one layout needs it, and workers never

    for name, text in plan.texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for name, variables in plan.matrices.items():
        savemat(root / name, variables, do_compression=True)


def _write_images(root: Path, plan: DatasetPlan, workers: int, progress: bool) -> None:
    for folder in sorted({(root / path).parent for path, _ in plan.images}):
        folder.mkdir(parents=True, exist_ok=True)
    chunks = [plan.images[start : start + CHUNK] for start in range(0, len(plan.images), CHUNK)]
    workers = min(workers, len(chunks))
    with tqdm(total=len(plan.images), unit=" images", disable=None if progress else True) as bar:
        if workers == 1:
            for chunk in chunks:
                bar.update(_render_chunk(root, chunk))
            return
        with ProcessPoolExecutor(workers, mp_context=_process_context()) as pool:
            try:
                for done in as_completed([pool.submit(_render_chunk, root, chunk) for chunk in chunks]):
                    bar.update(done.result())
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def _process_context() -> multiprocessing.context.BaseContext:
    """Avoids fork: a copy of a process with threads may hang. A fork server pays for the imports only once."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pipeline.synthetic.dataset_layouts"])
    return context


def _render_chunk(root: Path, chunk: list[tuple[str, ImageKey]]) -> int:
    for path, key in chunk:
        image = render_image(key)
        if path.endswith(".jpg"):
            image.save(root / path, quality=jpeg_quality(key))
        else:
            image.save(root / path)
    return len(chunk)
