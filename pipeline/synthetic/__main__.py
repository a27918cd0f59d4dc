"""The command `synthetic`: `python -m pipeline.synthetic --layout sysu --root data/demo --identities 150`."""

from __future__ import annotations

import argparse
import sys
import time

from pipeline.cli.synthetic import read_options
from pipeline.errors import one_line_errors
from pipeline.synthetic.sizes import USUAL_IDENTITIES


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    options = read_options(sys.argv[1:] if argv is None else argv)
    from pipeline.synthetic.generation import generate

    start = time.perf_counter()
    count = generate(progress=True, **vars(options))
    if count == 0:
        print(f"synthetic: {options.root}: already there")
        return
    took = f"{time.perf_counter() - start:.1f} s"
    print(f"synthetic: {options.root}: {count} images {describe_size(options)}, {options.layout} layout, {took}")


def describe_size(options: argparse.Namespace) -> str:
    if options.scale is not None:
        return f"at scale {options.scale:g}"
    if options.shape is not None:
        return f"in the shape of {options.shape.name}"
    return f"of {options.identities or USUAL_IDENTITIES} identities"


if __name__ == "__main__":
    main()
