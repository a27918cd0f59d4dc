"""Measures the costs of a data set besides the training: checking, packing, time to the first batch, memory.

    python -m benchmarks.data --dataset sysu --root DIR [--arrays] [--device auto]

DIR holds a data set; `python -m pipeline.synthetic --layout sysu --scale 1 --root DIR` generates one of the true
size. Each way of training from it runs in a process of its own. `--arrays` adds the way of much public code: all
training images resized beforehand, in .npy arrays that are loaded into memory (125 KB an image).
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.errors import one_line_errors

BATCHES = 50  # taken before memory is read
HEIGHT, WIDTH = 288, 144


def megabytes(kind: str) -> float:
    """Returns resident memory of this process: `RssAnon`, its own, or `RssFile`, pages of files that others share."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"^{kind}:\s+(\d+) kB", status, re.MULTILINE)[1]) / 1000


def measure_loader(device: str, *arguments: str) -> None:
    """Takes batches as training does; prints seconds to the first and the memory that came on top of the imports."""
    from benchmarks.devices import choose_device
    from pipeline.build import build_divided_index, build_table
    from pipeline.config import load_config
    from pipeline.loading.batches import training_batches

    before = megabytes("RssAnon"), megabytes("RssFile")
    begin = time.time()
    settings = load_config([*arguments])
    index = build_divided_index(settings)
    indexed = time.time()
    batches = training_batches(index, build_table(settings, index), settings, choose_device(device))
    next(batches)
    first = time.time()
    for _ in range(BATCHES):
        next(batches)
    own, shared = (megabytes(kind) - known for kind, known in zip(("RssAnon", "RssFile"), before, strict=True))
    print(begin, indexed, first, own, shared)


def measure_arrays(folder: str) -> None:
    before = megabytes("RssAnon"), megabytes("RssFile")
    begin = time.time()
    arrays = [np.load(file) for file in sorted(Path(folder).glob("*.npy"))]
    first = time.time()
    own, shared = (megabytes(kind) - known for kind, known in zip(("RssAnon", "RssFile"), before, strict=True))
    print(begin, first, first, own, shared)
    assert len(arrays) == 2


def write_arrays(arguments: list[str], folder: Path) -> None:
    """Writes the training images of each modality as one (N, HEIGHT, WIDTH, 3) uint8 array."""
    from pipeline.build import build_index, training_rows
    from pipeline.config import load_config

    data = load_config(arguments).data
    rows = training_rows(build_index(data), data)

    def resized(path: str) -> np.ndarray:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS))

    for modality, paths in rows.groupby("modality")["path"]:
        shape = (len(paths), HEIGHT, WIDTH, 3)
        array = np.lib.format.open_memmap(folder / f"{modality}.npy", "w+", np.uint8, shape)
        with ThreadPoolExecutor() as pool:
            for place, image in enumerate(pool.map(resized, paths)):
                array[place] = image
        array.flush()


def run(module: str, *arguments: str) -> tuple[float, str]:
    """Returns seconds and output of `python -m module arguments`."""
    begin = time.time()
    ended = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(ended.stdout + ended.stderr)
    return time.time() - begin, ended.stdout


def report(name: str, how: str, *arguments: str) -> None:
    begin = time.time()
    _, output = run("benchmarks.data", how, *arguments)
    started, indexed, first, own, shared = map(float, output.split()[-5:])
    times = f"{started - begin:8.1f} {indexed - started:8.1f} {first - indexed:8.1f} {first - begin:8.1f}"
    print(f"{name:>12} {times} {own:10.0f} {shared:12.0f}", flush=True)


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    # here, so that the way that needs no torch doesn't wait for it
    from benchmarks.devices import add_device_option, choose_device, describe_device

    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description=__doc__.splitlines()[0])
    add_device_option(parser)
    parser.add_argument("--dataset", default="sysu")
    parser.add_argument("--root", required=True, type=Path)
    parser.add_argument("--arrays", action="store_true", help="measure resident .npy arrays as well")
    options = parser.parse_args(argv)
    named = ["--dataset", options.dataset, "--root", str(options.root)]
    arguments = [f"data.dataset={options.dataset}", f"data.root={options.root}"]
    with tempfile.TemporaryDirectory() as folder:
        seconds, output = run("pipeline.prepare", *named)
        print(output)
        print(f"check: {seconds:.1f} s with the start of Python")
        print(run("pipeline.prepare", *named, "--pack", f"{folder}/packs")[1].splitlines()[-1], "\n")
        print(f"batches on: {describe_device(choose_device(options.device))}")
        print(
            f"{'':>12} {'imports':>8} {'index':>8} {'batch':>8} {'together':>8} {'own memory':>10} {'mapped files':>12}"
        )
        print(f"{'':>12} {'s':>8} {'s':>8} {'s':>8} {'s':>8} {'MB':>10} {'MB':>12}", flush=True)
        report("folder", "loader", options.device, *arguments)
        report("pack", "loader", options.device, *arguments[:1], f"data.root={folder}/packs")
        if options.arrays:
            write_arrays(arguments, Path(folder))
            report(".npy arrays", "arrays", folder)


if __name__ == "__main__":
    ways = {"loader": measure_loader, "arrays": measure_arrays}
    if sys.argv[1:] and sys.argv[1] in ways:
        ways[sys.argv[1]](*sys.argv[2:])
    else:
        main()
