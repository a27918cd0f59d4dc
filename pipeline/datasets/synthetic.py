"""Generated data sets: drawn people in the folder layouts of SYSU-MM01, RegDB, LLCM or a plain folder.

    python -m pipeline.datasets.synthetic --layout sysu --root data/synthetic --identities 100
    python -m pipeline.datasets.synthetic --layout sysu --root data/large --scale 1

Everything can then be run on a machine that has no real data set. A picture is a pure function of the seed, the
person, the camera and its number: the number of workers changes nothing, and a larger set contains the smaller one's
pictures. `synthetic.json`, written last, marks a complete set and carries its settings.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from tqdm import tqdm

from pipeline.datasets.drawing import PictureKey, draw_picture, jpeg_quality
from pipeline.datasets.layouts import LAYOUTS, Plan
from pipeline.datasets.shapes import PUBLISHED, UNIFORM, USUAL_IMAGES, Shape, read_shape, scaled

MARKER = "synthetic.json"
UNFINISHED_MARKER = "synthetic.unfinished.json"
MADE_BY = "pipeline.datasets.synthetic"
VERSION = 1  # of the pictures; a set of another version is not the same set
CHUNK = 48  # pictures a worker draws at a time
USUAL_IDENTITIES = 40
LIMITS = {"identities": (4, 9999), "images_per_camera": (1, 9999), "seed": (0, 2**63 - 1), "workers": (1, 256)}


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
    """Write a data set and return the number of pictures drawn: 0 where the same set is already there.

    layout: a key of `LAYOUTS`. The size is one of three: `identities` people (None: 40) with `images_per_camera`
    pictures by each camera (None: the layout's usual number); the share `scale` (0 .. 1] of the published people (sysu,
    regdb, llcm); every person as in the CSV file `shape` (sysu; columns: `shapes.COLUMNS`). workers: processes; None:
    one a processor. An interrupted set is drawn again; `force` replaces a generated set of other settings. Raises
    ValueError for numbers out of range, an unusable CSV file, and a root that holds anything else.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout: expected one of {', '.join(LAYOUTS)}; found {layout!r}")
    workers = _processors() if workers is None else workers
    _check_number("seed", seed)
    _check_number("workers", workers)
    people, size = _choose_shape(layout, seed, identities, images_per_camera, scale, shape)
    settings = {"made_by": MADE_BY, "version": VERSION, "layout": layout, **size, "seed": seed}
    root = Path(root)
    if not _prepare(root, settings, force):
        return 0
    plan = LAYOUTS[layout](people, seed)
    _write_lists(root, plan)
    _write_pictures(root, plan, workers, progress)
    os.replace(root / UNFINISHED_MARKER, root / MARKER)
    return len(plan.pictures)


def _choose_shape(
    layout: str,
    seed: int,
    identities: int | None,
    images_per_camera: int | None,
    scale: float | None,
    shape: str | Path | None,
) -> tuple[Shape, dict]:
    """The shape of the data set, and the settings that the marker knows it by."""
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
        people, digest = read_shape(shape)
        return people, {"shape_sha256": digest}
    size = {
        "identities": USUAL_IDENTITIES if identities is None else identities,
        "images_per_camera": USUAL_IMAGES[layout] if images_per_camera is None else images_per_camera,
    }
    for name, value in size.items():
        _check_number(name, value)
    return UNIFORM[layout](*size.values(), seed), size


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_number(name: str, value: int) -> None:
    low, high = LIMITS[name]
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name}: expected a whole number from {low} to {high}; found {value!r}")


# ---------------------------------------------------------------- the marker


def _prepare(root: Path, settings: dict, force: bool) -> bool:
    """Make `root` ours to write to; False where the complete set is already there."""
    if root.exists() and not root.is_dir():
        raise ValueError(f"root {root}: expected a folder or nothing; found a file; choose another --root")
    found = _read_marker(root)
    if found is None and root.is_dir() and any(root.iterdir()):
        raise ValueError(
            f"root {root}: the folder is not empty and has no {MARKER}, so it was not generated here; "
            "choose another --root (--force does not delete it either)"
        )
    if found is not None and found != settings and not force:
        raise ValueError(
            f"root {root}: {_difference(found, settings)}; choose another --root or replace it with --force"
        )
    if found == settings and (root / MARKER).exists() and not force:
        return False
    root.mkdir(parents=True, exist_ok=True)
    if found is not None and force:
        _clear(root, found)
    _write_text(root / UNFINISHED_MARKER, json.dumps(settings, indent=1) + "\n")
    return True


def has_published_shape(root: str | Path) -> bool:
    """Whether `root` holds a generated data set of the published size: made with scale 1, or with a shape file."""
    root = Path(root)
    found = _read_marker(root) if (root / MARKER).is_file() else None
    return found is not None and (found.get("scale") == 1 or "shape_sha256" in found)


def _read_marker(root: Path) -> dict | None:
    """The settings of the set in `root`, complete or not; None where nothing says that it is ours."""
    for name in (MARKER, UNFINISHED_MARKER):
        try:
            found = json.loads((root / name).read_text())
        except (OSError, ValueError):
            continue
        if isinstance(found, dict) and found.get("made_by") == MADE_BY:
            return found
    return None


def _difference(found: dict, settings: dict) -> str:
    keys = [key for key in {**settings, **found} if found.get(key) != settings.get(key)]
    expected, there = (
        ", ".join(f"{key} {values[key]}" for key in keys if key in values) for values in (settings, found)
    )
    return f"expected a set with {expected}; found one with {there}"


def _clear(root: Path, found: dict) -> None:
    """Delete all in a folder of ours, its marker staying till the end so that an interruption can be repaired."""
    _write_text(root / UNFINISHED_MARKER, json.dumps(found, indent=1) + "\n")
    (root / MARKER).unlink(missing_ok=True)
    for entry in root.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != UNFINISHED_MARKER:
            entry.unlink()


def _write_text(path: Path, text: str) -> None:
    """All or nothing, so that a marker is never half written."""
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    os.replace(part, path)


# ---------------------------------------------------------------- writing


def _write_lists(root: Path, plan: Plan) -> None:
    from scipy.io import savemat  # only one layout needs it, and workers never

    for name, text in plan.texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for name, variables in plan.matrices.items():
        savemat(root / name, variables, do_compression=True)


def _write_pictures(root: Path, plan: Plan, workers: int, progress: bool) -> None:
    for folder in sorted({(root / path).parent for path, _ in plan.pictures}):
        folder.mkdir(parents=True, exist_ok=True)
    chunks = [plan.pictures[start : start + CHUNK] for start in range(0, len(plan.pictures), CHUNK)]
    workers = min(workers, len(chunks))
    with tqdm(total=len(plan.pictures), unit=" pictures", disable=None if progress else True) as bar:
        if workers == 1:
            for chunk in chunks:
                bar.update(_draw_chunk(root, chunk))
            return
        with ProcessPoolExecutor(workers, mp_context=_process_context()) as pool:
            try:
                for done in as_completed([pool.submit(_draw_chunk, root, chunk) for chunk in chunks]):
                    bar.update(done.result())
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def _process_context() -> multiprocessing.context.BaseContext:
    """Not fork: a copy of a process that runs threads may hang. A fork server pays for the imports only once."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pipeline.datasets.layouts"])
    return context


def _draw_chunk(root: Path, chunk: list[tuple[str, PictureKey]]) -> int:
    for path, key in chunk:
        options = {"quality": jpeg_quality(key)} if path.endswith(".jpg") else {}
        draw_picture(key).save(root / path, **options)
    return len(chunk)


def main(argv: list[str] | None = None) -> None:
    """The command line; a user's mistake ends it with one line and exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.datasets.synthetic", description=__doc__.split("\n")[0])
    parser.add_argument("--layout", required=True, choices=list(LAYOUTS), help="folder layout to write")
    parser.add_argument("--root", required=True, type=Path, help="folder to write to: new, empty or generated")
    parser.add_argument("--identities", type=int, metavar="N", help=f"people (default {USUAL_IDENTITIES})")
    usual = ", ".join(f"{layout} {images}" for layout, images in USUAL_IMAGES.items())
    parser.add_argument("--images-per-camera", type=int, metavar="N", help=f"pictures of each person (default {usual})")
    share = f"instead: this share of the published people, 0 to 1 ({', '.join(PUBLISHED)})"
    parser.add_argument("--scale", type=float, metavar="S", help=share)
    columns = "instead: people and pictures as in this CSV file of id,split,cam1..cam6 (sysu)"
    parser.add_argument("--shape", type=Path, metavar="FILE", help=columns)
    parser.add_argument("--seed", type=int, default=0, metavar="NUMBER", help="another seed, other people (default 0)")
    parser.add_argument("--workers", type=int, metavar="W", help="processes (default: one a processor)")
    parser.add_argument("--force", action="store_true", help="replace a generated set that has other settings")
    given = parser.parse_args(argv)
    start = time.perf_counter()
    try:
        count = generate(progress=True, **vars(given))
    except ValueError as error:
        raise SystemExit(f"synthetic: {error}") from None
    if count == 0:
        print(f"synthetic: {given.root}: already there")
        return
    took = f"{time.perf_counter() - start:.1f} s"
    print(f"synthetic: {given.root}: {count} pictures {_size_in_words(given)}, {given.layout} layout, {took}")


def _size_in_words(given: argparse.Namespace) -> str:
    if given.scale is not None:
        return f"at scale {given.scale:g}"
    if given.shape is not None:
        return f"in the shape of {given.shape.name}"
    return f"of {given.identities or USUAL_IDENTITIES} people"


if __name__ == "__main__":
    main()
