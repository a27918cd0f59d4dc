"""What `pip install .` installs: the wheel, built from a copy of what git tracks."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from pipeline import __version__

PROJECT = Path(__file__).resolve().parents[1]
PACKAGED = ("pipeline", "dali_ops", "configs", "benchmarks", "tests/losses")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    for name in PACKAGED:
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in PROJECT.iterdir():
        if file.is_file() and file.suffix in (".py", ".toml", ".txt", ".in", ".md", ""):
            shutil.copy(file, folder)
    return folder


def build(project, hook, folder, **environment):
    """What a hook of the build backend prints as its result: the name of what it wrote into `folder`."""
    code = f"from setuptools import build_meta; print(); print(build_meta.{hook}({str(folder)!r}))"
    command, environment = [sys.executable, "-c", code], os.environ | environment
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def wheel(project, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    name = build(project, "build_wheel", folder).stdout.splitlines()[-1]
    with zipfile.ZipFile(folder / name) as archive:
        yield archive


def requirements(name):
    lines = [line.partition("#")[0].strip() for line in (PROJECT / name).read_text().splitlines()]
    return {normal(line) for line in lines if line and not line.startswith("-r")}


def normal(requirement):
    """Without spaces, and its bounds in alphabetical order."""
    name, bounds = re.fullmatch(r"([\w.-]+)(.*)", requirement.replace(" ", "")).groups()
    return name + ",".join(sorted(bounds.split(",")))


def required(metadata):
    """The requirements in a METADATA, by the extra that wants them; None: by nobody in particular."""
    found = {}
    for line in re.findall(r"^Requires-Dist: (.*)$", metadata, re.MULTILINE):
        requirement, _, extra = line.partition("; extra == ")
        found.setdefault(extra.strip("\"'") or None, set()).add(normal(requirement))
    return found


def test_the_wheel_holds_the_packages_their_data_and_the_configurations(wheel):
    names = set(wheel.namelist())
    assert {name.split("/")[0] for name in names} == {"pipeline", "dali_ops", f"vireid-{__version__}.dist-info"}
    for folder, place in (("pipeline", ""), ("dali_ops", ""), ("configs", "pipeline/")):
        files = [file for file in (PROJECT / folder).rglob("*") if file.is_file() and "__pycache__" not in file.parts]
        missing = {f"{place}{file.relative_to(PROJECT).as_posix()}" for file in files} - names
        assert len(files) > 10 and not missing


def test_requirements_are_what_is_installed(wheel):
    metadata = wheel.read(f"vireid-{__version__}.dist-info/METADATA").decode()
    expected = {None: requirements("requirements.txt"), "test": requirements("requirements-test.txt")}
    assert required(metadata) == expected and len(expected[None]) > 10
    assert "pipeline.cli.console:main" in wheel.read(f"vireid-{__version__}.dist-info/entry_points.txt").decode()


def test_the_build_of_dali_is_chosen_by_the_version_of_cuda(project, tmp_path):
    ended = build(project, "prepare_metadata_for_build_wheel", tmp_path, VIREID_CUDA="12")
    metadata = (tmp_path / ended.stdout.splitlines()[-1] / "METADATA").read_text()
    usual = requirements("requirements.txt")
    assert usual - required(metadata)[None] == {"nvidia-dali-cuda130==2.4.0"}
    assert required(metadata)[None] - usual == {"nvidia-dali-cuda120==2.4.0"}
    ended = build(project, "prepare_metadata_for_build_wheel", tmp_path, VIREID_CUDA="11")
    assert "VIREID_CUDA: expected one of 13, 12; found '11'" in ended.stderr


@pytest.fixture()
def installed(wheel, tmp_path):
    """A folder to import the packages from as they are installed, and an empty one to work in."""
    wheel.extractall(tmp_path / "site")
    (tmp_path / "work").mkdir()
    return tmp_path / "site", tmp_path / "work"


CALLS = """
import json, os, sys
from pipeline.cli.console import main

for folder, line in json.load(sys.stdin):
    os.chdir(folder)
    try:
        main(line.split())
    except SystemExit:
        pass
    for stream in (sys.stdout, sys.stderr):
        print("end of call", file=stream)
"""


def test_configurations_that_come_with_the_project_are_found_from_any_folder(installed):
    site, work = installed
    own = work / "own"
    (own / "configs").mkdir(parents=True)
    (own / "configs" / "demo.yaml").write_text("seed: 77\n")
    calls = [
        (work, "config configs/demo.yaml configs/ablation/b1.yaml"),
        (work, "sweep configs/sweeps/regdb.list --unfinished"),
        (own, "config configs/demo.yaml"),
        (own, "config configs/none.yaml"),
    ]
    ended = subprocess.run(
        [sys.executable, "-c", CALLS],
        input=json.dumps(calls, default=str),
        env=os.environ | {"PYTHONPATH": str(site)},
        cwd=work,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    shown, said = (text.split("end of call\n")[:-1] for text in (ended.stdout, ended.stderr))
    assert 'name: "demo-b1"' in shown[0]
    assert shown[1].startswith("1,2,3") and not said[1]
    assert re.search(r"^seed: 77 ", shown[2], re.MULTILINE), "the user's own comes first"
    assert said[3].startswith("error: configs/none.yaml: no such configuration file")


def test_an_installed_package_has_no_commit_of_the_project_around_it(installed):
    site, work = installed
    (work / "README.md").write_text("another project, whose .gitignore names its virtual environment\n")
    (site.parent / ".gitignore").write_text(f"/{site.name}\n")
    for step in (["init", "-q"], ["add", "-A"], ["-c", "user.name=a", "-c", "user.email=b", "commit", "-qm", "mine"]):
        subprocess.run(["git", *step], cwd=site.parent, check=True)
    code = "from pipeline.run.provenance import code_version; print(code_version())"
    environment = os.environ | {"PYTHONPATH": str(site)}
    ended = subprocess.run([sys.executable, "-c", code], cwd=work, env=environment, capture_output=True, text=True)
    assert ended.stdout == f"{__version__}\n"


def test_the_version_is_one():
    assert yaml.safe_load((PROJECT / "CITATION.cff").read_text())["version"] == __version__
    assert f"\n## {__version__}\n" in (PROJECT / "CHANGELOG.md").read_text()
