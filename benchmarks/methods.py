"""Compares what a training step costs by method, next to the base-derivative method's: one machine, one process.

    python -m benchmarks.methods [LIST] [key=value ...] [--steps 10] [--rounds 3]

Takes the members of a list of runs (`configs/sweeps/methods_demo.list`) with the seed 0, whose data set must be there,
and times optimizer steps with the loader. Methods are timed in turn, several times, so that a change of the machine's
speed meets all. Methods of several stages are left out: their steps differ.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from accelerate import Accelerator

from benchmarks.devices import describe_device, seconds_of
from pipeline.build import build_divided_index, build_table
from pipeline.distributed import create_accelerator
from pipeline.errors import one_line_errors
from pipeline.run.folder import open_run
from pipeline.run.provenance import starting_facts
from pipeline.settings import Settings
from pipeline.sweep import read_list
from pipeline.training.prepare import prepare_training
from pipeline.training.state import Training
from pipeline.training.step import set_training_mode, train_step

LIST = Path("configs/sweeps/methods_demo.list")
MEASURE = "methods-mdl4"  # the run that others are compared with
WARM_UP = 3


def members(file: Path, more: Sequence[str]) -> dict[str, Settings]:
    """Returns the settings of the list's runs by name, those of seed 0."""
    of_list = {member.folder.name: member.settings for member in read_list(file, [*more])}
    return {
        name: settings
        for name, settings in of_list.items()
        if settings.seed == 0 and not getattr(settings.method, "is_staged", False)
    }


def open_training(settings: Settings, accelerator: Accelerator, folder: str) -> Training:
    settings = replace(settings, output=folder, train=replace(settings.train, epochs=1, steps_per_epoch=10_000))
    open_run(settings, facts=starting_facts(settings, accelerator))
    index = build_divided_index(settings)
    training = prepare_training(settings, accelerator, index, build_table(settings, index))
    set_training_mode(training)
    return training


def step_seconds(training: Training, steps: int) -> float:
    """Seconds of a step; the loader ends with them, as others would have to share its cores."""

    def step() -> None:
        train_step(training)
        training.step += 1

    seconds = seconds_of(step, training.accelerator.device, steps, WARM_UP)
    training.batches.close()
    return seconds


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.methods", description=__doc__.splitlines()[0])
    parser.add_argument("list", nargs="?", type=Path, default=LIST, help="of runs, as for sweeps")
    parser.add_argument("more", nargs="*", metavar="key=value", help="added to each line of the list")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(argv)
    found = members(options.list, options.more)
    first = next(iter(found.values()))
    with tempfile.TemporaryDirectory() as folder:
        accelerator = create_accelerator(first, folder)
        print(f"{describe_device(accelerator.device)}; medians of {options.rounds} rounds of {options.steps} steps")
        trainings = {name: open_training(settings, accelerator, folder) for name, settings in found.items()}
        rounds = [
            {name: step_seconds(one, options.steps) for name, one in trainings.items()} for _ in range(options.rounds)
        ]
    show({name: median(one[name] for one in rounds) for name in found}, found)


def show(seconds: dict[str, float], found: dict[str, Settings]) -> None:
    measure = MEASURE if MEASURE in seconds else next(iter(seconds))
    print(f"{'':>24} {'rows':>5} {'ms a step':>10} {'x ' + measure:>16}")
    for name, value in seconds.items():
        print(f"{name:>24} {found[name].batch.rows:>5} {1000 * value:>10.0f} {value / seconds[measure]:>16.2f}")


if __name__ == "__main__":
    main()
