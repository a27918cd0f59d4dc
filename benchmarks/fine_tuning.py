"""Measures what pre-trained weights are worth on a user's images: fine-tuned, against random weights and no training.

    python -m benchmarks.fine_tuning ROOT WEIGHTS [--backbone tf_efficientnet_lite0.in1k] [--seeds 3] [key=value ...]

ROOT is a folder of images as `configs/folder.yaml` takes it. Half of its people are trained on, the other half is
searched in both directions. The same recipe trains from the file WEIGHTS and from random weights, with every seed.
Beside it stand the network of WEIGHTS without any training, histograms of gradients, and gray pixels.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from pipeline import evaluate, train
from pipeline.build import build_index
from pipeline.config import load_config
from pipeline.errors import one_line_errors
from pipeline.evaluation.results import read_rows
from pipeline.settings import DIRECTIONS

# Few people and minutes on a CPU: small images, few steps, and a backbone that moves less than what is new.
RECIPE = [
    *("augment.height=128", "augment.width=64", "augment.pad=5"),
    *("model.stems=shared", "model.last_stride=2", "model.pretrained=false"),
    *("optimizer.name=adamw", "optimizer.lr=0.001", "optimizer.backbone_lr_mult=0.3"),
    *("optimizer.schedule=cosine", "optimizer.lr_decay=0.01", "optimizer.warmup=2"),
    *("train.epochs=10", "train.steps_per_epoch=10"),
]
CELL, ORIENTATIONS = 8, 9  # pixels; of half a turn


def gradient_histograms(image: np.ndarray) -> np.ndarray:
    """Returns the features of an image (H, W), gray: float64, of unit length (Dalal and Triggs, CVPR 2005).

    Histograms of 9 orientations in cells of 8 x 8 pixels, weighted by the gradient, normalized in blocks of 2 x 2.
    """
    down, right = np.gradient(image.astype(np.float64))
    size = np.hypot(down, right)
    bins = np.floor(np.mod(np.arctan2(down, right), np.pi) / np.pi * ORIENTATIONS).astype(int) % ORIENTATIONS
    rows, columns = image.shape[0] // CELL, image.shape[1] // CELL
    weighted = np.where(bins[..., None] == np.arange(ORIENTATIONS), size[..., None], 0)[: rows * CELL, : columns * CELL]
    cells = weighted.reshape(rows, CELL, columns, CELL, ORIENTATIONS).sum(axis=(1, 3))
    blocks = np.concatenate([cells[:-1, :-1], cells[:-1, 1:], cells[1:, :-1], cells[1:, 1:]], axis=2)
    blocks /= np.linalg.norm(blocks, axis=2, keepdims=True) + 1e-6
    return blocks.ravel() / (np.linalg.norm(blocks) + 1e-12)


def save_histograms(index: pd.DataFrame, height: int, width: int, file: Path) -> None:
    """Writes the histograms of all images of an index, resized, as the command `evaluate --features` reads them."""
    features = []
    for path in index["path"]:
        with Image.open(path) as image:
            gray = image.convert("L").resize((width, height), Image.Resampling.BILINEAR)
        features.append(gradient_histograms(np.asarray(gray)))
    np.savez(file, features=np.stack(features), index=np.arange(len(index)))


def mean_precisions(folder: Path) -> list[float]:
    """Returns mAP of each direction from the rows of a run, per cent."""
    rows = read_rows(folder / "results.csv").set_index("direction")["mAP"]
    return [float(rows[direction]) for direction in DIRECTIONS]


def quietly(command: Callable[[list[str]], None], *arguments: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        command([*arguments])


def measured(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, list[float]]]:
    """Yields the name of a way to make features, and its mAP in each direction."""
    settings = ["configs/folder.yaml", f"data.root={options.root}", f"output={folder}", *RECIPE, *options.overrides]
    network = [*settings, f"model.backbone={options.backbone}"]
    given = [f"model.weights={options.weights}"]
    for start, weights in {"from the weights": given, "from random weights": []}.items():
        for seed in range(options.seeds):
            name = f"{start}, seed {seed}"
            quietly(train.main, *network, *weights, f"seed={seed}", f"name={name}")
            yield name, mean_precisions(folder / name)
    quietly(evaluate.main, *network, *given, "evaluation.feature=pooled", "name=no training")
    yield "no training", mean_precisions(folder / "no training")
    loaded = load_config(settings)
    save_histograms(build_index(loaded.data), loaded.augment.height, loaded.augment.width, folder / "histograms.npz")
    quietly(evaluate.main, *settings, "name=histograms", "--features", str(folder / "histograms.npz"))
    yield "gradient histograms", mean_precisions(folder / "histograms")
    quietly(evaluate.main, *settings, "name=pixels", "evaluation.extractor=pixels")
    yield "gray pixels", mean_precisions(folder / "pixels")


@one_line_errors
def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.fine_tuning",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("root", type=Path, help="folder of images")
    parser.add_argument("weights", type=Path, help="file of weights")
    parser.add_argument("--backbone", default="tf_efficientnet_lite0.in1k")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_intermixed_args(argv)
    print(f"{'':30}" + "".join(f"{f'mAP {direction}':>26}" for direction in DIRECTIONS))
    with tempfile.TemporaryDirectory() as folder:
        for name, precisions in measured(options, Path(folder)):
            print(f"{name:30}" + "".join(f"{value:26.1f}" for value in precisions), flush=True)


if __name__ == "__main__":
    main()
