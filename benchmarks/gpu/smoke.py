"""The first check on a GPU: everything that the project computes there, compared with the CPU. A line a check.

    python -m benchmarks.gpu.smoke [--device auto] [--only images] [--only decoding] [--only training]

A line that begins with BAD is a bug of the project, of DALI or of PyTorch; the exit status is then 1.
PIPELINE_TRACEBACK=1 shows where an error came from. With `--device cpu` the CPU is compared with itself.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.devices import add_device_option, choose_device, describe_device
from benchmarks.gpu.checks import Checks
from benchmarks.gpu.decoding_checks import decoding_checks
from benchmarks.gpu.image_checks import covering_checks, derivation_checks, geometry_checks
from benchmarks.gpu.training_checks import training_checks
from pipeline.errors import one_line_errors

GROUPS = ("images", "decoding", "training")


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.smoke", description=__doc__.splitlines()[0])
    add_device_option(parser)
    parser.add_argument("--only", choices=GROUPS, action="append", help="these checks alone")
    options = parser.parse_args(argv)
    device, groups, checks = choose_device(options.device), options.only or GROUPS, Checks()
    print(describe_device(device), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        if "training" in groups:
            checks.attempt_all(training_checks(device, Path(folder)))
        if "images" in groups:
            for of_kind in (geometry_checks, covering_checks, derivation_checks):
                checks.attempt_all(of_kind(device))
        if "decoding" in groups:
            checks.attempt_all(decoding_checks(device))
    sys.exit(checks.end())


if __name__ == "__main__":
    main()
