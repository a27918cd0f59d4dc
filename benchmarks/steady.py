"""Memory, threads and open files of the training loader over many batches: each should end where it began.

python -m benchmarks.steady CONFIG [key=value ...] [--batches 10000] [--device auto]
"""

from __future__ import annotations

import argparse
import os
import time

from benchmarks.data import megabytes
from benchmarks.devices import add_device_option, choose_device, describe_device
from benchmarks.loading import open_batches
from pipeline.config import load_config
from pipeline.errors import one_line_errors

LINES = 10


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steady", description=__doc__.splitlines()[0])
    parser.add_argument("arguments", nargs="+", metavar="CONFIG|key=value", help="as for training")
    parser.add_argument("--batches", type=int, default=10_000)
    add_device_option(parser)
    options = parser.parse_intermixed_args(argv)
    settings = load_config(options.arguments, name_required=True)
    device = choose_device(options.device)
    batches = open_batches(settings, device)
    print(f"batches on: {describe_device(device, settings.loader.image_type)}\n")
    begin = time.monotonic()
    print("| batches | own memory | threads | open files | s |\n|---|---|---|---|---|")
    for number in range(1, options.batches + 1):
        next(batches)
        if number in (1, 100) or number % max(1, options.batches // LINES) == 0:
            threads, files = (len(os.listdir(f"/proc/self/{kind}")) for kind in ("task", "fd"))
            passed = time.monotonic() - begin
            print(f"| {number} | {megabytes('RssAnon'):.0f} MB | {threads} | {files} | {passed:.0f} |", flush=True)
    batches.close()


if __name__ == "__main__":
    main()
