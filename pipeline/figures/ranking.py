"""The figures of a trained run's results on the test images."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from pipeline.cli.figures import read_ranking
from pipeline.config import is_override
from pipeline.figures import style
from pipeline.figures.attention import attention
from pipeline.figures.cmc import cmc
from pipeline.figures.distances import distances
from pipeline.figures.evaluated_run import EvaluatedRun, LeftOut, evaluate_runs
from pipeline.figures.ranked_lists import ranked_lists
from pipeline.figures.sheet import check_at_least_one
from pipeline.figures.t_sne import MOST_PEOPLE, t_sne
from pipeline.run.folder import run_path
from pipeline.text import nearest

# name -> function of the runs and the command's options, which gives figures by the name of their files
FIGURES: dict[str, Callable[[list[EvaluatedRun], argparse.Namespace], dict[str, Figure]]] = {
    "ranked_lists": lambda runs, options: ranked_lists(runs, options.queries, options.seed),
    "cmc": lambda runs, options: cmc(runs),
    "distances": lambda runs, options: distances(runs),
    "t_sne": lambda runs, options: t_sne(runs, options.identities, options.seed),
    "attention": lambda runs, options: attention(runs, options.seed),
}


def parse(argv: list[str]) -> argparse.Namespace:
    """Returns the options, arguments divided into `runs` and `overrides`; ValueError for wrong numbers or figures."""
    options = read_ranking(argv)
    check_at_least_one(options, "queries", "identities")
    if options.seed < 0:
        raise ValueError(f"--seed: expected 0 or more; found {options.seed}")
    if options.identities > MOST_PEOPLE:
        raise ValueError(f"--identities: expected at most {MOST_PEOPLE}; found {options.identities}")
    options.only = options.only.split(",")
    for name in options.only:
        if name not in FIGURES:
            raise ValueError(f"--only: expected some of {', '.join(FIGURES)}; found {name!r}{nearest(name, FIGURES)}")
    options.runs = [name for name in options.arguments if Path(name).is_dir() or not is_override(name)]
    options.overrides = [override for override in options.arguments if override not in options.runs]
    if not options.runs:
        raise ValueError("expected the folder of a trained run, e.g. runs/demo; found none")
    return options


def main(argv: list[str]) -> None:
    """Draws figures of the first run; in the CMC several runs are overlaid."""
    options = parse(argv)
    runs = evaluate_runs(options.runs, options.overrides, options.checkpoint)
    folder = options.out or run_path(runs[0].settings) / "figures"
    if not runs[0].accelerator.is_main_process:
        return
    for name in options.only:
        with matplotlib.rc_context(style.STYLE):
            try:
                figures = FIGURES[name](runs, options)
            except LeftOut as reason:
                print(f"{name} is left out: {reason}")
                continue
            for file, figure in figures.items():
                print(*style.save(figure, folder, file))
