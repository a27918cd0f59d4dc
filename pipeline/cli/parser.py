"""The parser that all commands share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

CONSOLE = "vireid"
OVERRIDES = "settings, e.g. train.epochs=30; the config command lists them all"
CONFIGS = "configuration files, merged from left to right, then key=value overrides"


class CommandParser(argparse.ArgumentParser):
    """A parser whose help ends with examples, whose errors are ValueErrors, and that takes `--key=value` overrides.

    command: as it is typed after the program's name, e.g. "figures batch". examples: what may follow it, one a line.
    """

    def __init__(self, command: str, summary: str, examples: Sequence[str] = ()) -> None:
        program = name_program(command)
        lines = "\n".join(f"  {program} {example}".rstrip() for example in examples)
        super().__init__(
            prog=program,
            description=summary,
            epilog=f"examples:\n{lines}" if examples else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def read(self, argv: list[str]) -> argparse.Namespace:
        """Returns the options, which may stand between the other arguments."""
        return self.parse_intermixed_args([self._without_dashes(argument) for argument in argv])

    def _without_dashes(self, argument: str) -> str:
        """Returns `train.epochs=3` for `--train.epochs=3`, where no option has that name."""
        name, equals, _ = argument.partition("=")
        options = {string for action in self._actions for string in action.option_strings}
        return argument.lstrip("-") if equals and argument.startswith("-") and name not in options else argument

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; `{self.prog} --help` explains")


def name_program(command: str = "") -> str:
    """Returns how the command was called, to be called so again: by the console command, or as a module."""
    started = Path(sys.argv[0])
    if started.stem == CONSOLE:
        return f"{CONSOLE} {command}".rstrip()
    if not command or started.parts[-2:] == ("pipeline", "__main__.py"):
        return f"python -m pipeline {command}".rstrip()
    return f"python -m pipeline.{command}"


def add_data_set(parser: CommandParser) -> None:
    """Adds `--dataset` and `--root`, the short forms of two settings (`data_set_overrides`)."""
    parser.add_argument("--dataset", help="short for data.dataset=...: sysu, regdb, llcm or folder")
    parser.add_argument("--root", help="short for data.root=...")


def add_checkpoint(parser: CommandParser) -> None:
    """Adds `--checkpoint`, which weights of a run are meant."""
    parser.add_argument(
        "--checkpoint", metavar="last|best|STEP", help="weights of a run (default: as its validation.selection says)"
    )


def data_set_overrides(options: Any) -> list[str]:
    """Returns `--dataset` and `--root` as `key=value` overrides."""
    named = {"data.dataset": options.dataset, "data.root": options.root}
    return [f"{key}={value}" for key, value in named.items() if value]
