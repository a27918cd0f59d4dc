"""Evaluation: `python -m pipeline.evaluate RUN|CONFIG... [--save-features FILE] [key=value ...]`.

RUN is a run folder: its trained network, with `evaluation.*`, `loader.*` or `data.*` changed as asked.
CONFIG files instead evaluate the network as training would start with it, or `evaluation.extractor=pixels`.
`--features FILE --dataset NAME --root DIR` evaluates features made by anybody, without a network (see `feature_files`).
Prints the table of means, adds a row per trial to results.csv of the run folder, and keeps the metrics of every query
in its queries/.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.entry import one_line_errors
from pipeline.evaluation.from_files import evaluate_file
from pipeline.evaluation.session import evaluate, finish, open_session


def read_options(argv: list[str]) -> argparse.Namespace:
    """Returns the options, `arguments` among them: a run folder or configuration files, and overrides.

    Raises ValueError for options that don't go together.
    """
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.evaluate", description="Evaluates a run, or features.", allow_abbrev=False
    )
    parser.add_argument("arguments", nargs="*", metavar="RUN|CONFIG|key=value", help="a run folder, or as for training")
    parser.add_argument("--dataset", help="short for data.dataset=...: sysu, regdb, llcm or folder")
    parser.add_argument("--root", help="short for data.root=...")
    parser.add_argument("--features", type=Path, metavar="FILE", help="evaluate these: .npz, or MATLAB files' folder")
    parser.add_argument("--index", type=Path, metavar="CSV", help="of --features: path,identity,camera,modality,split")
    parser.add_argument("--save-features", type=Path, metavar="FILE", help=".npz; or .mat, SYSU-MM01's six files")
    options, more = parser.parse_known_intermixed_args(argv)
    # `--evaluation.flip=true` is an override too; anything else unknown is taken for a file, and its error names it.
    options.arguments += [argument.lstrip("-") if "=" in argument else argument for argument in more]
    named = {"data.dataset": options.dataset, "data.root": options.root}
    options.arguments += [f"{key}={value}" for key, value in named.items() if value]
    if options.index and not options.features:
        raise ValueError("--index: lists the images of --features; without them give --root or data.root=")
    if options.features and options.save_features:
        raise ValueError("--save-features: writes what a network extracts; --features is such a file already")
    return options


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    options = read_options(sys.argv[1:] if argv is None else argv)
    if options.features:
        session, result = evaluate_file(options.arguments, options.features, options.index)
    else:
        session = open_session(options.arguments)
        result = evaluate(session, options.save_features).result
    finish(session, result)
    session.accelerator.end_training()


if __name__ == "__main__":
    main()
