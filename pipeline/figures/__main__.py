"""Pictures of what happens: `python -m pipeline.figures FIGURE ...`, where FIGURE is one of

batch CONFIG... [key=value ...] --out FILE.png      the first training batch in its modalities
derivations CONFIG... [key=value ...] --out DIR     every derivation on the same two people
dataset CONFIG... [key=value ...] --out FILE.png    the data set as it is on disk: identities by cameras
ranking RUN... [key=value ...] [--out DIR]          a run: ranked lists, CMC, distances, t-SNE, activation maps

`python -m pipeline.figures FIGURE --help` lists the options of each.
"""

from __future__ import annotations

import sys

from pipeline.cli.errors import one_line_errors
from pipeline.figures import batch, dataset, derivations, ranking
from pipeline.text import nearest

FIGURES = {"batch": batch.main, "derivations": derivations.main, "dataset": dataset.main, "ranking": ranking.main}


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    words = sys.argv[1:] if argv is None else argv
    if words[:1] in (["-h"], ["--help"]):
        print(__doc__.strip())
        return
    name = words[0] if words else "nothing"
    if name not in FIGURES:
        raise ValueError(f"figure: expected one of {', '.join(FIGURES)}; found {name!r}{nearest(name, FIGURES)}")
    FIGURES[name](words[1:])


if __name__ == "__main__":
    main()
