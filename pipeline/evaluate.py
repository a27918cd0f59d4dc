"""Evaluates a run: `python -m pipeline.evaluate RUN|CONFIG... [--save-features FILE] [key=value ...]`.

RUN is a run folder: its trained network, with `evaluation.*`, `loader.*` or `data.*` changed as asked. `--checkpoint`
chooses the weights: last, best (on validation) or those of a step.
CONFIG files instead evaluate the network as training would start with it, or `evaluation.extractor=pixels`.
`--features FILE --dataset NAME --root DIR` evaluates features of any origin, without a network (see `feature_files`).
Prints the table of means, adds a row per trial to results.csv of the run folder, and keeps the metrics of every query
in its queries/.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, which take seconds
    from pipeline.cli.console import run_module

    run_module("evaluate")

import sys

from pipeline.cli.evaluate import read_options
from pipeline.errors import one_line_errors
from pipeline.evaluation.from_files import evaluate_file
from pipeline.evaluation.session import evaluate, finish, open_session


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    options = read_options(sys.argv[1:] if argv is None else argv)
    if options.features:
        session, result = evaluate_file(options.arguments, options.features, options.index)
    else:
        session = open_session(options.arguments, checkpoint=options.checkpoint)
        result = evaluate(session, options.save_features).result
    finish(session, result)
    session.accelerator.end_training()
