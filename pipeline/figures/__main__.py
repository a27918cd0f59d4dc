"""The command `figures`: images of data sets, training batches, and what a trained network makes of test images."""

from __future__ import annotations

import importlib
import sys

from pipeline.cli.figures import read_options
from pipeline.errors import one_line_errors


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    arguments = sys.argv[1:] if argv is None else argv
    name, _ = read_options(arguments)
    importlib.import_module(f"pipeline.figures.{name}").main(arguments[1:])


if __name__ == "__main__":
    main()
