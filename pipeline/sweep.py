"""Many runs from one list: `python -m pipeline.sweep LIST [--processes N] [key=value ...]`.

A line of the list is a member: the arguments that `pipeline.train` takes, written as in a shell; `#` begins a comment.
The arguments after LIST are added to each. Members are trained one after the other; those that are finished are left
out, those begun resume, and one that fails doesn't stop the others. A folder that holds a training with other settings
is no member's: then nothing is done. `slurm/sweep.sh` trains the same list as a job array.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, which take seconds
    from pipeline.cli.console import run_module

    run_module("sweep")

import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from pipeline.cli.sweep import read_options
from pipeline.config import load_config
from pipeline.errors import INTERRUPTED, one_line_errors
from pipeline.evaluation.model_info import recipe_hash
from pipeline.evaluation.results import read_rows, summarize
from pipeline.run.chosen import BEST
from pipeline.run.folder import check_same_run, is_finished, run_path, settings_of
from pipeline.run.job_logs import failure, newest_logs
from pipeline.run.lock import current_training
from pipeline.run.metrics import read_metrics
from pipeline.settings import Settings
from pipeline.shipped import find_shipped


@dataclass(frozen=True)
class Member:
    """A run of the list. `number` counts from 1."""

    number: int
    line: int
    arguments: tuple[str, ...]
    folder: Path
    settings: Settings = field(compare=False, repr=False)


def read_list(file: Path, more: list[str]) -> list[Member]:
    """Returns the members of a list, `more` added to the arguments of each.

    Raises ValueError naming the line whose arguments are no configuration, or the two lines that name the same run.
    """
    found = find_shipped(file)
    if not found.is_file():
        raise FileNotFoundError(f"{file}: no such list of runs")
    members: dict[Path, Member] = {}
    for line, text in enumerate(found.read_text().splitlines(), start=1):
        try:
            arguments = [*shlex.split(text, comments=True)]
            if not arguments:
                continue
            settings = load_config([*arguments, *more], name_required=True)
            folder = run_path(settings)
        except (ValueError, FileNotFoundError) as error:
            raise ValueError(f"{file}:{line}: {error}") from None
        if folder in members:
            raise ValueError(f"{file}: lines {members[folder].line} and {line} both name the run {folder}; add a name=")
        members[folder] = Member(len(members) + 1, line, (*arguments, *more), folder, settings)
    if not members:
        raise ValueError(f"{file}: expected a line for each run; found none")
    return [*members.values()]


def check_same_runs(members: list[Member], origin: Path) -> None:
    """Raises ValueError naming the first member in whose folder something was trained with other settings."""
    differing = []
    for member in members:
        try:
            check_same_run(member.settings, member.folder)
        except ValueError as error:
            differing.append(f"{origin}:{member.line}: {error}")
    if differing:
        others = f" ({len(differing)} of {len(members)} members differ; another output= serves them all)"
        raise ValueError(differing[0] + (others if len(members) > 1 else ""))


def progress(members: list[Member], failed: dict[Member, int] | None = None) -> pd.DataFrame:
    """Returns how far each member is: state, optimizer steps logged, rank-1 and mAP in per cent by the first of its
    protocols.

    States: finished, running (somewhere), failed (here, with its exit status, or as its newest Slurm job), stopped
    (begun, and ended otherwise), waiting.
    """
    return pd.DataFrame([row(member, (failed or {}).get(member)) for member in members]).set_index("member")


def current_rows(folder: Path) -> pd.DataFrame:
    """Returns the rows of a finished run that are of its settings of now: it may have had fewer epochs before."""
    rows, kept = read_rows(folder / "results.csv"), settings_of(folder)
    recipe = recipe_hash(kept, BEST if kept.validation.selection == "best" else "last")
    current = rows[rows["recipe"] == recipe] if "recipe" in rows else rows
    return current if len(current) else rows


def row(member: Member, failed: int | None) -> dict[str, object]:
    """Returns the row of a member in `progress`; failed: its exit status, where it failed here."""
    steps = read_metrics(member.folder / "metrics.csv")["step"].dropna()
    step = 0 if steps.empty else int(steps.max())
    found: dict[str, object] = {"member": member.number, "run": member.folder.name}
    if is_finished(member.folder, member.settings):
        means = summarize(current_rows(member.folder)).iloc[0]
        scores = {metric: f"{means[metric]:.2f}" for metric in ("rank_1", "mAP")}
        return found | {"state": "finished", "step": step} | scores
    logs = newest_logs(member.folder)
    if failed is not None:
        state = f"failed ({failed})"
    elif current_training(member.folder):
        state = "running"
    elif logs and failure(logs):
        state = "failed"
    else:
        state = "stopped" if step or logs else "waiting"
    return found | {"state": state, "step": step, "rank_1": "", "mAP": ""}


def train_member(member: Member, processes: int) -> int:
    """Trains a member in a process whose output goes where ours does; returns its exit status, INTERRUPTED after
    Ctrl-C.

    Ctrl-C reaches the training as well, which then saves a checkpoint: it is waited for, never killed.
    """
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    training = subprocess.Popen([sys.executable, *launch, "-m", "pipeline.train", *member.arguments])
    interrupted = False
    while True:
        try:
            status = training.wait()
        except KeyboardInterrupt:
            interrupted = True
        else:
            return INTERRUPTED if interrupted else status


def train_all(members: list[Member], processes: int, origin: Path) -> None:
    """Trains the unfinished members. Raises ValueError naming those that failed, once the others are through."""
    failed: dict[Member, int] = {}
    for member in members:
        if is_finished(member.folder, member.settings):
            continue
        print(f"{origin}: {member.number} of {len(members)}: {shlex.join(member.arguments)}", flush=True)
        status = train_member(member, processes)
        if status == INTERRUPTED:
            print(f"{origin}: interrupted in {member.folder}; the same command resumes", file=sys.stderr, flush=True)
            sys.exit(INTERRUPTED)
        if status:
            failed[member] = status
        print(progress(members, failed).to_string(), flush=True)
        if not status and not is_finished(member.folder, member.settings):
            raise ValueError(f"{origin}: asked to stop in {member.folder}; the same command resumes")
    if failed:
        names = ", ".join(f"{member.folder} (status {status})" for member, status in failed.items())
        raise ValueError(f"{origin}: {len(failed)} of {len(members)} members failed: {names}")
    print_tables(members, origin)


def print_tables(members: list[Member], origin: Path) -> None:
    """Prints progress and results. Raises ValueError naming the members that aren't finished."""
    print(progress(members).to_string(), flush=True)
    finished = [member.folder for member in members if is_finished(member.folder, member.settings)]
    if finished:
        print(flush=True)
        status = subprocess.run([sys.executable, "-m", "pipeline.tables", *map(str, finished)]).returncode
        if status:
            sys.exit(status)
    missing = [member.folder for member in members if member.folder not in finished]
    for folder in missing:
        logs = newest_logs(folder)
        if logs and not current_training(folder):
            print(f"{folder}: not finished; see {logs}/{failure(logs) or 'rank-*.txt'}", file=sys.stderr)
    if missing:
        names = ", ".join(map(str, missing))
        raise ValueError(f"{origin}: {len(missing)} of {len(members)} members are not finished: {names}")


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    options = read_options(sys.argv[1:] if argv is None else argv)
    members = read_list(options.list, options.arguments)
    if options.member is None:
        check_same_runs(members, options.list)
    if options.unfinished:
        print(",".join(str(member.number) for member in members if not is_finished(member.folder, member.settings)))
    elif options.member is not None:
        if not 1 <= options.member <= len(members):
            raise ValueError(
                f"--member: expected 1 to {len(members)}, the members of {options.list}; found {options.member}"
            )
        member = members[options.member - 1]
        check_same_runs([member], options.list)
        print("\n".join(member.arguments))
    elif options.tables:
        print_tables(members, options.list)
    else:
        train_all(members, options.processes, options.list)
