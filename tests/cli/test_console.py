"""The commands: their help, in a moment, and how mistakes end."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import __version__
from pipeline.cli import figures, tables
from pipeline.cli.console import COMMANDS, main
from pipeline.figures.ranking import FIGURES
from pipeline.tables.formats import FORMATS

PROJECT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "nvidia", "pandas", "timm", "accelerate", "matplotlib", "sklearn", "scipy"}
FIGURE_COMMANDS = [f"figures {name}" for name in figures.READERS]


def run(*arguments, **options):
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, **options)


def imported(report):
    """The top-level packages in what `-X importtime` wrote."""
    return {name.partition(".")[0] for name in re.findall(r"\| +([\w.]+)$", report, re.MULTILINE)}


def test_importtime_would_show_a_heavy_import():
    assert "matplotlib" in imported(run("-X", "importtime", "-c", "import matplotlib").stderr)


@pytest.mark.parametrize("entry", ["pipeline ", "pipeline."])
@pytest.mark.parametrize("command", [*COMMANDS, *FIGURE_COMMANDS])
def test_help_says_what_a_command_does_with_three_examples_and_imports_nothing_heavy(entry, command):
    arguments = f"{entry}{command} --help".split()
    ended = run("-X", "importtime", "-m", *arguments)
    assert ended.returncode == 0 and not HEAVY & imported(ended.stderr)
    usage, _, examples = ended.stdout.partition("examples:\n")
    program = f"python -m {entry}{command}"
    assert usage.startswith(f"usage: {program} ") and "--help" in usage
    lines = examples.splitlines()
    assert len(lines) == 3 and all(line.startswith(f"  {program}") for line in lines)


def test_the_overview_names_every_command_and_imports_nothing_heavy():
    for arguments in ([], ["--help"]):
        ended = run("-X", "importtime", "-m", "pipeline", *arguments)
        assert ended.returncode == 0 and not HEAVY & imported(ended.stderr)
        assert all(f"\n  {command} " in ended.stdout for command in COMMANDS)


def test_the_version_is_printed(capsys):
    main(["--version"])
    assert capsys.readouterr().out == f"vireid {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "command: expected one of train, evaluate, "),
        (["trian"], "; found 'trian'; the nearest is train"),
        (["train", "--epochs", "3"], "unrecognized arguments: --epochs; `python -m pipeline.train --help` explains"),
        (["tables"], "the following arguments are required: RUN; `python -m pipeline.tables --help` explains"),
        (["tables", "runs/demo", "--format", "word"], "argument --format: invalid choice: 'word'"),
        (["synthetic", "--layout", "sysu", "--root", "x", "--identities", "two"], "invalid int value: 'two'"),
        (["figures", "batches"], "figure: expected one of batch, derivations, dataset, ranking; found 'batches'"),
        (["config", "optimizer.lt=1"], "unknown key optimizer.lt; the nearest is optimizer.lr"),
        (["config", "configs/none.yaml"], "configs/none.yaml: no such configuration file"),
        (["prepare", "--resized"], "--resized: expected --pack DIR with it; found none"),
    ],
)
def test_a_mistake_is_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    printed = capsys.readouterr()
    assert ended.value.code == 2 and not printed.out
    assert printed.err.startswith("error: ") and message in printed.err and printed.err.count("\n") == 1


def test_a_mistake_in_the_options_is_found_before_anything_heavy_is_imported():
    ended = run("-X", "importtime", "-m", "pipeline.evaluate", "--index", "index.csv")
    assert ended.returncode == 2 and "error: --index: lists the images of --features" in ended.stderr
    assert not HEAVY & imported(ended.stderr)


def test_overrides_may_have_dashes(capsys):
    main(["config", "--seed=7"])
    assert re.search(r"^seed: 7 ", capsys.readouterr().out, re.MULTILINE)


def test_choices_of_parsers_are_those_of_the_commands():
    assert set(tables.FORMATS) == set(FORMATS)
    assert set(figures.RANKINGS) == set(FIGURES)


def test_unread_output_ends_a_command_silently():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "pipeline.config"]
    ended = subprocess.run(command, cwd=PROJECT, stdout=writing, stderr=subprocess.PIPE, timeout=60)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, b"")
