"""`python -m pipeline.tables RUN...`: the means of runs below each other, or in the layouts of the paper's tables.

A row is the mean over the trials of runs that differ in the seed alone (RegDB: in the trial). Rows of another
protocol, test set, option, training data or version of the code are rows of their own, and a line
below the table tells in what they differ.
`--compare RUN` adds the differences from a run, each with an interval (see `pipeline.tables.compare`).
"""

from __future__ import annotations

import sys

from pipeline.cli.tables import read_options
from pipeline.errors import one_line_errors


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    options = read_options(sys.argv[1:] if argv is None else argv)
    from pipeline.tables.command import tabulate

    tabulate(options)


if __name__ == "__main__":
    main()
