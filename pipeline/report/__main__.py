"""`python -m pipeline.report RUN... [--out report.html]`: one page of all that is known of runs.

Results beside the literature's, training and CMC curves, and of each run its settings, a training batch, ranked lists,
distances, t-SNE, activation, hardest queries and worst confusions; several runs are compared with the first. The page
holds its pictures and needs no network. What isn't there (data, network, results) is left out, with a sentence.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.cli.errors import one_line_errors
from pipeline.files import write_atomically
from pipeline.report.page import build_page


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.report", description="A page of all about some runs.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run folder, e.g. runs/demo")
    parser.add_argument("--out", type=Path, default=Path("report.html"), help="file to write (default: report.html)")
    options = parser.parse_args(argv)
    page = build_page(list(dict.fromkeys(options.runs)))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(options.out, page)
    print(f"{options.out}: {len(page) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
