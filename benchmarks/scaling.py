"""Estimates a step on many GPUs: bytes and times of its parts from measurements of one device and of the network.

    python -m benchmarks.scaling [--step 0.1] [--network 25e9] ...        docs/scaling.md explains it

Every GPU keeps its share of the batch as the number of GPUs grows. Nothing is measured here: give your own numbers
(`benchmarks.step` prints the seconds of a step and the rows, `nccl-tests` the bandwidth).
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

NORM_LAYERS = 55  # of ResNet-50 with two stems
GPUS = (1, 8, 16, 32, 64, 128, 256, 512, 1024)


@dataclass(frozen=True)
class Figures:
    """Of one device, the network between them, and the recipe. Seconds, bytes, bytes a second, operations a second."""

    step: float
    rows: int
    modalities: int
    intra_terms: int
    cross_terms: int
    features: int
    parameters: float
    norm_channels: int
    norm: str
    network: float
    latency: float
    overlap: float
    operations: float
    image: float


def step_on(gpus: int, it: Figures) -> dict[str, float]:
    """Bytes that a GPU receives and seconds that a step takes, by part."""
    gradients = 4 * it.parameters * 2 * (gpus - 1) / gpus  # ring all-reduce
    gathered = 4 * it.rows * it.features * (gpus - 1)
    norms = 2 * 2 * 4 * it.norm_channels  # mean and variance, forward and backward
    rows = it.rows * gpus // it.modalities  # of a modality, on every GPU after the gathering
    distances = (it.intra_terms + it.cross_terms) * rows**2
    hops = math.ceil(math.log2(gpus)) if gpus > 1 else 0
    seconds = {
        "gradients": max(0.0, gradients / it.network + hops * it.latency - it.overlap * it.step),
        "features": gathered / it.network + hops * it.latency * 2,
        "norms": (norms / it.network + 2 * NORM_LAYERS * hops * it.latency) * (it.norm == "auto" and gpus > 1),
        "mining": 3 * distances * it.features / it.operations,
    }
    total = it.step + sum(seconds.values())
    captured = it.rows / 2 * gpus / total
    return {
        "gradient MB": gradients / 1e6,
        "feature MB": gathered / 1e6,
        "distances MB": 4 * rows**2 / 1e6,
        **{f"{name} ms": 1000 * value for name, value in seconds.items()},
        "step ms": 1000 * total,
        "efficiency %": 100 * it.step / total,
        "images/s": captured,
        "read MB/s": captured * it.image / 1e6,
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--step", type=float, default=0.1, help="seconds of a step on one GPU, without waiting for data")
    add("--rows", type=int, default=128, help="images of all modalities on a GPU")
    add("--modalities", type=int, default=4)
    add("--intra-terms", type=int, default=4, help="modalities with MML")
    add("--cross-terms", type=int, default=3, help="pairs with MDL")
    add("--features", type=int, default=2048, help="dimensions of a feature")
    add("--parameters", type=float, default=25.1e6, help="of the network, float32 gradients")
    add("--norm-channels", type=int, default=28_672, help="channels of all norm layers (ResNet-50)")
    add("--norm", choices=("auto", "local", "frozen"), default="auto", help="auto: batch norm over all GPUs")
    add("--network", type=float, default=25e9, help="bytes a second into a GPU from another node")
    add("--latency", type=float, default=20e-6, help="seconds of a message between nodes")
    add("--overlap", type=float, default=0.5, help="share of a step behind which the gradients' exchange hides")
    add("--operations", type=float, default=15e12, help="float32 operations a second of a GPU in distances")
    add("--image", type=float, default=6.4e3, help="bytes of a file")
    figures = Figures(**vars(parser.parse_args(argv)))
    table = [{"GPUs": gpus, **step_on(gpus, figures)} for gpus in GPUS]
    print("| " + " | ".join(table[0]) + " |\n|" + "---|" * len(table[0]))
    for row in table:
        print("| " + " | ".join(f"{value:,.0f}" if value >= 10 else f"{value:.3g}" for value in row.values()) + " |")


if __name__ == "__main__":
    main()
