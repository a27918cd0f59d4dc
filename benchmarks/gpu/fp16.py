"""A short training in fp16: its losses stay finite and its weights small, though the first steps overflow.

    python -m benchmarks.gpu.fp16 CONFIG [key=value ...] [--steps 20] [--device auto]

The scale of the gradients begins at 65,536, so that fp16 overflows in one of the first steps as a rule. Runs with SGD,
without clipping and with it. With `--device cpu`, which has no fp16, in bf16.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
import tempfile
from functools import partial

from safetensors.torch import load_file

from benchmarks.devices import add_device_option, choose_device, describe_device
from benchmarks.gpu.checks import Checks
from pipeline import train
from pipeline.config import load_config
from pipeline.errors import one_line_errors
from pipeline.run.folder import run_path
from pipeline.run.trained import weights_path

LARGEST = 100.0  # a momentum that an overflow got into makes weights of millions


def stays_small(arguments: list[str]) -> tuple[bool, str]:
    """Trains; right where the weights are small and every loss is a number."""
    train.main(arguments)
    folder = run_path(load_config(arguments))
    weights = load_file(weights_path(folder)).values()
    largest = max(float(tensor.abs().max()) for tensor in weights if tensor.is_floating_point())
    with open(folder / "metrics.csv", newline="") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    right = largest < LARGEST and all(map(math.isfinite, losses))
    return right, f"losses {losses[0]:.2f} ... {losses[-1]:.2f}, largest weight {largest:.3g}"


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.fp16", description=__doc__.splitlines()[0])
    parser.add_argument("arguments", nargs="+", metavar="CONFIG|key=value", help="as for training")
    parser.add_argument("--steps", type=int, default=20)
    add_device_option(parser)
    options = parser.parse_intermixed_args(argv)
    device, checks = choose_device(options.device), Checks()
    precision = "fp16" if device.type == "cuda" else "bf16"
    print(describe_device(device, precision), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for clip in ("null", "5.0"):
            arguments = [*options.arguments, f"output={folder}", f"name=clip-{clip}", f"train.precision={precision}"]
            arguments += ["train.epochs=1", f"train.steps_per_epoch={options.steps}", "train.log_steps=1"]
            arguments += [
                "optimizer.name=sgd",
                "optimizer.lr=0.01",
                f"optimizer.clip_grad_norm={clip}",
                "evaluation.trials=1",
            ]
            checks.attempt(f"{precision}, clip {clip}", partial(stays_small, arguments))
    sys.exit(checks.end())


if __name__ == "__main__":
    main()
