"""SYSU-MM01's forty trials scored on the device and on the CPU: the same metrics, and the time of each.

    python -m benchmarks.gpu.scoring [--device auto] [--trials 10]

Then the error of a float32 convolution with TF32 and without it, where the device has it.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import torch

from benchmarks.devices import add_device_option, choose_device, describe_device
from benchmarks.evaluation import read_protocol, sample_features, timed
from pipeline.errors import one_line_errors
from pipeline.evaluation.ranking import Scores
from pipeline.evaluation.scoring import score_trials

ROUNDS = 3
APART = 1e-3  # of two mAP, or of the share of first ranks: near distances are rounded to another order


def compare(expected: list[Scores], found: list[Scores]) -> tuple[float, float]:
    """Returns the max difference of the mAPs, and the share of queries with another rank of their first true match."""
    apart = max(abs(one.mAP - other.mAP) for one, other in zip(expected, found, strict=True))
    ranks, others = (np.concatenate([scores.first_match_rank for scores in many]) for many in (expected, found))
    return apart, float((ranks != others)[~np.isnan(ranks)].mean())


def show_convolution(device: torch.device) -> None:
    """Prints the relative error of a convolution of the network's kind with TF32 and without."""
    layer = torch.nn.Conv2d(256, 256, 3, padding=1, bias=False).to(device)
    images = torch.randn(8, 256, 36, 18, device=device)
    with torch.inference_mode():
        exact = torch.nn.functional.conv2d(images.double(), layer.weight.double(), padding=1)
        for allowed in (True, False):
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=allowed):
                error = (layer(images).double() - exact).norm() / exact.norm()
            print(f"float32 convolution, TF32 {'allowed' if allowed else 'forbidden'}: relative error {error:.1e}")


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.scoring", description=__doc__.splitlines()[0])
    add_device_option(parser)
    parser.add_argument("--trials", type=int, default=10, help="of each mode and number of shots")
    options = parser.parse_args(argv)
    device = choose_device(options.device)
    index, trials = read_protocol(None, options.trials)
    features, found = sample_features(index), {}
    print(f"{len(trials)} trials of {len(features)} images; {describe_device(device)}", flush=True)
    for name, place, rounds in (("CPU", torch.device("cpu"), 1), ("device", device, ROUNDS)):
        there = features.to(place)
        found[name], seconds, _ = timed(lambda there=there: score_trials(there, index, trials), rounds)
        print(f"on the {name}: {seconds:.2f} s", flush=True)
    apart, moved = compare(found["CPU"], found["device"])
    print(f"mAP apart by at most {apart:.1e}; first ranks that differ {moved:.4%}")
    if device.type == "cuda":
        show_convolution(device)
    sys.exit(int(apart > APART or moved > APART))


if __name__ == "__main__":
    main()
