"""The console command `vireid`, which is `python -m pipeline` too: finds a command, reads its options, runs it."""

from __future__ import annotations

import importlib
import os
import sys

from pipeline import __version__
from pipeline.cli.parser import CONSOLE, name_program
from pipeline.errors import one_line_errors
from pipeline.text import nearest

# command -> the module whose `main` runs it, and what it does
COMMANDS = {
    "train": ("pipeline.train", "train a network, then evaluate it"),
    "evaluate": ("pipeline.evaluate", "evaluate a run, or precomputed features"),
    "translate": ("pipeline.translate", "images of one modality as another would show them"),
    "prepare": ("pipeline.prepare", "check a data set before training, and pack it"),
    "tables": ("pipeline.tables.__main__", "tables of results, next to the literature's"),
    "report": ("pipeline.report.__main__", "one page of everything that is known of some runs"),
    "figures": ("pipeline.figures.__main__", "data sets, batches and rankings as images"),
    "sweep": ("pipeline.sweep", "train the runs of a list"),
    "synthetic": ("pipeline.synthetic.__main__", "generate a data set of synthetic people"),
    "config": ("pipeline.cli.config", "every setting with its value and meaning"),
}
EXAMPLES = (
    "synthetic --layout sysu --root data/demo --identities 150",
    "train configs/demo.yaml",
    "tables runs/demo",
)


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help"):
        print(describe_commands())
    elif arguments[0] == "--version":
        print(f"{CONSOLE} {__version__}")
    else:
        run_command(arguments[0], arguments[1:])


def find_modules_here() -> None:
    """Lets a configuration name parts in modules of the working folder, as `python -m` does: a script doesn't."""
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.append("")


def run_command(name: str, argv: list[str]) -> None:
    """Reads the options first: `--help` and mistakes in them don't wait for torch and DALI to be imported."""
    if name not in COMMANDS:
        raise ValueError(f"command: expected one of {', '.join(COMMANDS)}; found {name!r}{nearest(name, COMMANDS)}")
    importlib.import_module(f"pipeline.cli.{name}").read_options(list(argv))
    find_modules_here()
    importlib.import_module(COMMANDS[name][0]).main(argv)


def run_module(name: str) -> None:
    """Runs a command and ends: what `python -m pipeline.NAME` does before it imports anything else."""
    main([name, *sys.argv[1:]])
    sys.exit()


def describe_commands() -> str:
    """Returns what `--help` prints: the commands, and examples."""
    program = name_program()
    lines = [f"usage: {program} COMMAND ...", "", "Visible-infrared person re-identification.", "", "commands:"]
    lines += [f"  {name:<10} {summary}" for name, (_, summary) in COMMANDS.items()]
    lines += ["", "examples:", *(f"  {program} {example}" for example in EXAMPLES)]
    return "\n".join([*lines, "", f"`{program} COMMAND --help` explains each."])
