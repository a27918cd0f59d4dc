"""Which tests are how dear: each is in one tier, and `pytest -m TIER` runs one of them.

A test's tier is that of its folder or file, unless it has the mark of one itself. All of the tier unit together take
about a minute (`make check`): they build no DALI pipeline and start no process but what asks the system a question.
"""

from __future__ import annotations

import multiprocessing.process
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
# What isn't named here is in the tier unit. The longest name that fits counts.
TIERS = {
    "unit": "loading/test_hardware loading/test_sampling",
    "slow": (
        "methods models/test_backbone models/test_backbones models/test_grad_checkpointing models/test_heads "
        "models/test_ibn models/test_inserts models/test_norm models/test_parameter_groups models/test_reid "
        "models/test_patch_stride models/test_stages models/test_versions models/weights protocols/test_true_shape "
        "test_build"
    ),
    "dali": (
        "checks/test_images dali_ops evaluation/test_features loading run/test_training_data test_prepare "
        "training/test_freezing"
    ),
    "multiprocess": "cli/test_console multiprocess octave run/test_lock test_locking test_packaging",
    "end_to_end": (
        "benchmarks end_to_end evaluation/hcml/test_learning evaluation/test_corruption evaluation/test_per_query "
        "evaluation/test_session figures "
        "methods/test_mistakes test_evaluate test_report test_api test_sweep"
    ),
    "slurm": "slurm",
}
MEANING = {
    "unit": "no DALI pipeline, no process, no whole network",
    "slow": "as unit, but of whole networks and true sizes",
    "dali": "builds DALI pipelines in this process",
    "multiprocess": "starts processes",
    "end_to_end": "trains, by the real entry points",
    "slurm": "a Slurm cluster on this machine",
}


QUESTIONS = ("git", "uname")


def tier_of(item: pytest.Item) -> str:
    """Returns the tier of a test."""
    own = [mark.name for mark in item.own_markers if mark.name in MEANING]
    return own[0] if own else tier_of_file(item.path)


def tier_of_file(file: Path) -> str:
    """Returns the tier of the tests of a file that have no mark of their own."""
    place = f"{file.relative_to(TESTS).with_suffix('').as_posix()}/"
    named = {name: tier for tier, names in TIERS.items() for name in names.split() if place.startswith(f"{name}/")}
    return named[max(named, key=len)] if named else "unit"


@contextmanager
def kept(tier: str) -> Iterator[None]:
    """Fails what a test of the tier unit may not do, in its fixtures as well."""
    if tier not in ("unit", "slow"):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", only_questions(subprocess.Popen.__init__))
        patch.setattr(multiprocessing.process.BaseProcess, "start", forbidden("starts a process"))
        if "nvidia.dali" in sys.modules:
            patch.setattr(sys.modules["nvidia.dali"].Pipeline, "build", forbidden("builds a DALI pipeline"))
        yield


def only_questions(start):
    def started(self, args, *more, **options):
        if args[0] not in QUESTIONS:
            forbidden(f"starts {args[0]}")()
        start(self, args, *more, **options)

    return started


def forbidden(what):
    def called(*arguments, **options):
        raise AssertionError(f"{what}: this test isn't of the tier it is in; tests/tiers.py says which are which")

    return called
