"""The GPU check on the CPU: its scripts run, its steps name what is there, its pack holds what the project needs."""

import importlib.util
import os
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks import evaluation
from benchmarks.gpu import facts, fp16, loader_rates, resident, scoring, smoke
from benchmarks.gpu.checks import Checks
from benchmarks.gpu.graphs import EXACT, ROUNDED, Allowed, same_images
from pipeline.config import load_config

PROJECT = Path(__file__).parent.parent.parent
CHECK = PROJECT / "benchmarks" / "gpu"
WORDS = ["pipeline.train", "pipeline.evaluate", "benchmarks.step", "benchmarks.gpu.fp16"]  # that take a configuration


def bash(script, *arguments, **environment):
    command = ["bash", CHECK / script, *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, cwd=PROJECT)


def ended(main, *arguments):
    """The exit status of an entry point."""
    try:
        main([*arguments])
    except SystemExit as exit_:
        return exit_.code
    return 0


# ---------------------------------------------------------------- the shell scripts


@pytest.fixture(scope="module")
def steps():
    """(file, name, seconds, arguments of the command) of every step."""
    shown = bash("check.sh", "all", "--dry-run", LOADER="loader.device=cpu")
    assert shown.returncode == 0, shown.stderr
    lines = [shlex.split(line) for line in shown.stdout.splitlines()]
    return [(file, name, int(limit), arguments) for file, name, limit, *arguments in lines]


@pytest.mark.parametrize("script", sorted(path.name for path in CHECK.glob("*.sh")))
def test_scripts_are_bash(script):
    assert subprocess.run(["bash", "-n", CHECK / script]).returncode == 0


def test_every_step_names_a_module_that_is_there(steps):
    assert len(steps) > 15
    for _, name, _, (_, minus_m, module, *_) in steps:
        assert minus_m == "-m" and importlib.util.find_spec(module) is not None, name


def test_every_configuration_of_a_step_loads(steps, monkeypatch):
    monkeypatch.chdir(PROJECT)
    settings = {
        name: load_config(arguments[3:], name_required=True) for _, name, _, arguments in steps if arguments[2] in WORDS
    }
    assert len(settings) == 8
    assert all(one.loader.device == "cpu" for one in settings.values())
    assert settings["step-bf16"].train.precision == "bf16" and settings["step-bf16-compiled"].train.compile


def test_every_test_file_of_a_step_is_there(steps):
    files = [
        argument
        for _, _, _, arguments in steps
        if arguments[2] == "pytest"
        for argument in arguments
        if argument.startswith("tests/")
    ]
    assert len(files) > 5 and all((PROJECT / file).exists() for file in files)


def test_every_test_that_a_step_selects_by_name_is_there(steps):
    (arguments,) = [arguments for _, name, _, arguments in steps if name == "tests-dali-ops"]
    source = "".join(path.read_text() for path in (PROJECT / "tests" / "dali_ops").glob("*.py"))
    selected = arguments[arguments.index("-k") + 1].split(" or ")
    assert len(selected) == 3 and all(name in source for name in selected)


@pytest.mark.parametrize("part", ["a", "b"])
def test_a_part_fits_its_time(steps, part):
    of_part = [line.split()[:3] for line in bash("check.sh", part, "--dry-run").stdout.splitlines()]
    assert {name for _, name, _ in of_part} < {name for _, name, _, _ in steps}
    assert 200 < sum(int(limit) for _, _, limit in of_part) < 1200
    assert len({file for file, _, _ in of_part}) <= 8


def test_the_readme_has_a_row_for_every_step(steps):
    rows = re.findall(r"^\| `([\w-]+)` \| (\d+) \|.*\| (\S+) \|$", (CHECK / "README.md").read_text(), re.MULTILINE)
    assert {(name, int(limit), file) for name, limit, file in rows} == {
        ("install", 60, "summary.txt"),
        *((name, limit, file) for file, name, limit, _ in steps),
    }


@pytest.mark.parametrize("arguments", [["c"], ["a", "--dry"]])
def test_arguments_that_mean_nothing_are_errors(arguments):
    refused = bash("check.sh", *arguments)
    assert refused.returncode == 2 and "check.sh: expected" in refused.stderr


@pytest.fixture
def no_steps(tmp_path):
    """An environment in which every step ends at once: one fails, one is late."""
    stub = tmp_path / "bin" / "timeout"
    stub.parent.mkdir()
    stub.write_text('#!/bin/sh\ncase "$*" in *gpu.facts*) exit 1 ;; *gpu.smoke*) exit 124 ;; esac\necho "seen $*"\n')
    stub.chmod(0o755)
    return {"PATH": f"{stub.parent}:{os.environ['PATH']}", "OUT": str(tmp_path / "out")}


def test_a_step_that_fails_or_is_late_does_not_stop_those_after_it(no_steps, tmp_path):
    ran = bash("check.sh", "a", **no_steps)
    summary = (tmp_path / "out" / "summary.txt").read_text()
    assert ran.returncode == 1 and ran.stdout.endswith(summary)
    for argument, name in (("BAD", "facts"), ("ok", "data"), ("LATE", "smoke"), ("ok", "fp16")):
        assert re.search(rf"^{argument} +{name} +status ", summary, re.MULTILINE)
    results = (tmp_path / "out" / "train.txt").read_text()
    assert re.findall("=== (.*)", results) == ["data (status 0)", "short-bf16 (status 0)", "fp16 (status 0)"]
    assert "seen -k 5 60 python3 -m pipeline.synthetic" in results


def test_steps_that_no_longer_fit_are_left_out_and_said(no_steps, tmp_path):
    assert bash("check.sh", "a", LIMIT="5", **no_steps).returncode == 1
    summary = (tmp_path / "out" / "summary.txt").read_text()
    assert summary.count("left out, no time") == 7 and not (tmp_path / "out" / "train.txt").exists()


def test_the_pack_and_the_machine_have_all_that_runs_need():
    listed = [line.split(maxsplit=1) for line in bash("pack.sh", "--list").stdout.splitlines()]
    present = {name for kind, name in listed if kind == "present"}
    packed = {requirement for kind, requirement in listed if kind == "packed"}
    lines = (line.partition("#")[0].strip() for line in (PROJECT / "requirements.txt").read_text().splitlines())
    wanted = {line for line in lines if line}
    assert packed <= wanted  # in the versions that the project asks for
    assert {re.split(r"[<>=]", line)[0] for line in wanted - packed} <= present
    assert any(line.startswith("nvidia-dali") for line in packed)
    assert {re.split(r"[<>=]", line)[0] for line in packed}.isdisjoint(present)


def test_a_pack_that_lost_a_file_or_a_byte_is_not_installed(tmp_path):
    (tmp_path / "one.whl").write_bytes(b"whole")
    sums = subprocess.run(["sha256sum", "one.whl"], cwd=tmp_path, capture_output=True, text=True).stdout
    (tmp_path / "SHA256SUMS").write_text(sums)
    (tmp_path / "one.whl").write_bytes(b"other")
    damaged = bash("install.sh", str(tmp_path), SITE=str(tmp_path / "site"))
    assert damaged.returncode == 1 and "one.whl" in damaged.stdout + damaged.stderr
    (tmp_path / "one.whl").unlink()
    missing = bash("install.sh", str(tmp_path), SITE=str(tmp_path / "site"))
    assert missing.returncode == 3 and missing.stdout.endswith("one.whl: missing\n")


# ---------------------------------------------------------------- what checks say


def test_a_check_that_is_wrong_or_fails_is_bad_and_the_others_continue(capsys):
    checks = Checks()
    checks.attempt_all({"right": lambda: (True, "fine"), "wrong": lambda: (False, "off"), "raises": lambda: 1 / 0})
    checks.attempt("exits", lambda: smoke.main(["--only", "nothing"]))
    checks.attempt("last", lambda: (True, ""))
    assert checks.end() == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:5]] == [
        ["ok", "right"],
        ["BAD", "wrong"],
        ["BAD", "raises"],
        ["BAD", "exits"],
        ["ok", "last"],
    ]
    assert lines[5] == "3 bad: wrong; raises; exits"
    assert Checks().end() == 0


def test_images_are_evaluated_by_share_and_size_of_what_differs():
    expected = [np.zeros((10, 10, 1), np.uint8)]
    made = [expected[0].copy()]
    assert same_images(made, expected, EXACT)[0]
    made[0][0, 0] = 1
    assert not same_images(made, expected, EXACT)[0]
    assert same_images(made, expected, ROUNDED)[0]
    made[0][0, 1:3] = 1
    assert not same_images(made, expected, ROUNDED)[0]  # three in a hundred
    made[0][0] = 0
    made[0][0, 0] = 2
    assert not same_images(made, expected, ROUNDED)[0] and same_images(made, expected, Allowed(0.02, 2))[0]
    assert not same_images([made[0][:5]], expected, Allowed(1, 255))[0]


# ---------------------------------------------------------------- the Python scripts


@pytest.mark.parametrize("group", smoke.GROUPS)
def test_smoke(group, monkeypatch, capsys):
    monkeypatch.chdir(PROJECT)
    status = ended(smoke.main, "--device", "cpu", "--only", group)
    shown = capsys.readouterr().out
    assert status == 0, shown
    assert shown.startswith("CPU, ") and shown.endswith("0 bad\n") and shown.count("ok ") > 5


def test_fp16(people, tiny, monkeypatch, capsys):
    monkeypatch.chdir(PROJECT)
    arguments = [*tiny, "configs/folder.yaml", f"data.root={people}"]
    assert ended(fp16.main, *arguments, "--steps", "2", "--device", "cpu") == 0
    assert "ok  bf16, clip null" in (shown := capsys.readouterr().out) and "ok  bf16, clip 5.0" in shown


def test_large_weights_after_a_training_are_bad(people, tiny, monkeypatch, tmp_path):
    monkeypatch.chdir(PROJECT)
    monkeypatch.setattr(fp16, "LARGEST", 1e-3)
    arguments = [*tiny, "configs/folder.yaml", f"data.root={people}", f"output={tmp_path}", "name=large"]
    right, seen = fp16.stays_small([*arguments, "train.epochs=1", "train.steps_per_epoch=1"])
    assert not right and "largest weight" in seen


def test_loader_rates(monkeypatch, capsys):
    monkeypatch.setattr(loader_rates, "WARM_UP", 1)
    monkeypatch.setattr(loader_rates, "TOGETHER", 1)
    arguments = ["--size", "96x48", "--identities", "12", "--seconds", "0.01", "--first", "3", "--device", "cpu"]
    assert ended(loader_rates.main, *arguments) == 0
    head, columns, *rows = capsys.readouterr().out.splitlines()
    assert head.startswith("files 96x48, output 288x144, batches of 64, CPU, ") and len(rows) == 3
    for row in rows:
        images, busy, first = map(float, row.split()[-3:])
        assert images > 0 and busy > 0 and first > 0


def test_a_case_changes_what_dali_is_asked_for_and_nothing_stays_changed(monkeypatch):
    asked = []
    monkeypatch.setattr(loader_rates.fn.decoders, "image", lambda *inputs, **keywords: asked.append(keywords))
    monkeypatch.setattr(loader_rates, "Pipeline", lambda **keywords: asked.append(keywords))
    before = loader_rates.fn.decoders.image, loader_rates.execution.Pipeline
    with loader_rates.as_asked(loader_rates.Case(1, "set", "", hardware_load=0.5, at_once=True)):
        loader_rates.fn.decoders.image(device="mixed")
        loader_rates.fn.decoders.image(device="cpu")
        loader_rates.execution.Pipeline(batch_size=1)
    loader, cpu, pipeline = asked
    assert loader == {"device": "mixed", "hw_decoder_load": 0.5} and cpu == {"device": "cpu"}
    assert pipeline == {"batch_size": 1, "concurrency": loader_rates.OperatorConcurrency.FULL}
    assert (loader_rates.fn.decoders.image, loader_rates.execution.Pipeline) == before


def test_resident(capsys):
    assert ended(resident.main, "--images", "40", "--batches", "1", "--device", "cpu") == 0
    assert re.search(r"eager: [\d.]+ ms a batch, \d+ captured images/s", capsys.readouterr().out)


def test_resident_windows_are_crops_of_padded_images():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (5, resident.HEIGHT, resident.WIDTH, 3), dtype=np.uint8)
    plan = next(resident.plans(5, 5, resident.torch.device("cpu")))
    made = resident.window(resident.torch.from_numpy(images), plan.visible, plan, 1).numpy()
    for number in range(0, resident.COUNT, 5):
        around = [(resident.PAD, resident.PAD)] * 2 + [(0, 0)]
        padded = np.pad(images[plan.visible[number]], around)
        top, left = int(plan.top[1, number]), int(plan.left[1, number])
        expected = padded[top : top + resident.HEIGHT, left : left + resident.WIDTH]
        np.testing.assert_array_equal(made[number], expected[:, ::-1] if plan.flip[1, number] else expected)


def test_scoring(monkeypatch, capsys):
    monkeypatch.setattr(evaluation, "DIMENSIONS", 32)
    monkeypatch.setattr(scoring, "ROUNDS", 1)
    assert ended(scoring.main, "--trials", "1", "--device", "cpu") == 0
    shown = capsys.readouterr().out
    assert "mAP apart by at most 0.0e+00; first ranks that differ 0.0000%" in shown and shown.startswith("4 trials of")


def test_facts(capsys):
    facts.main([])
    shown = capsys.readouterr().out
    assert all(f"{name} " in shown for name in (*facts.PACKAGES, "Python", "CUDA")) and " cores, " in shown
