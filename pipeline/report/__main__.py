"""`python -m pipeline.report RUN... [--out report.html]`: one page of all that is known of runs.

Results with the literature's, training and CMC curves, and of each run its settings, a training batch, ranked lists,
distances, t-SNE, activation, hardest queries and worst confusions; several runs are compared with the first. The page
holds its images and needs no network. Parts whose data, network or results are missing are left out, with a sentence.
"""

from __future__ import annotations

import sys

from pipeline.cli.report import read_options
from pipeline.errors import one_line_errors


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    options = read_options(sys.argv[1:] if argv is None else argv)
    from pipeline.files import write_atomically
    from pipeline.report.page import build_page

    page = build_page(list(dict.fromkeys(options.runs)), options.checkpoint)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(options.out, page)
    print(f"{options.out}: {len(page) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
