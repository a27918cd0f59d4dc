"""The README and docs name what is there: links, files, commands and their options, settings, examples."""

import importlib
import importlib.util
import pkgutil
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import torch

from pipeline import former
from pipeline.batch import Modality
from pipeline.cli.console import COMMANDS
from pipeline.cli.tables import ALL, CORRUPTION, RUNS
from pipeline.config import describe, load_config
from pipeline.losses.objective import build_objective
from pipeline.losses.term import LossContext, Rows
from pipeline.parts import METHODS
from pipeline.settings import Settings
from pipeline.synthetic.sizes import USUAL_IMAGES as SYNTHETIC_LAYOUTS
from pipeline.tables.layouts import LAYOUTS

PROJECT = Path(__file__).resolve().parents[1]
PAGES = [PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((PROJECT / "docs").glob("*.md"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TICKS = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
LINK = re.compile(r"\[[^]]*\]\(([^)]+)\)")
COMMAND = re.compile(r"\b(?:vireid|(?:python|-m) -m pipeline|-m pipeline)[. ](\w+)")
OVERRIDE = re.compile(r"(?<![\w/-])((?:[a-z_]+\.)+[a-z_]+|seed|output|name)=(\[[^\]]*\]|[^\s`,;\"')]+)")
KEY = re.compile(r"(?:data|batch|augment|derive|loader|model|optimizer|train|evaluation|method|losses)(?:\.[a-z_]+)+")
FILE = re.compile(r"(?:pipeline|dali_ops|benchmarks|tests|configs|docs|slurm)/[\w./]*\w")
# What isn't of today's configuration, or stands for a value.
NO_KEYS = {"model.safetensors", "losses.center"}
PLACEHOLDERS = {"seed=S", "train.norm=synchronised"}
TO_BE_WRITTEN = {"pipeline/losses/center.py", "tests/losses/test_center.py"}  # by who follows docs/extending.md


def code_of(page):
    """All that is code in a page: fenced blocks, and text between backticks."""
    text = page.read_text()
    blocks = [block for _, block in FENCE.findall(text)]
    return [*blocks, *(code.replace("\n", " ") for code in TICKS.findall(FENCE.sub("", text)))]


def blocks_of(page, language):
    return [block for found, block in FENCE.findall(page.read_text()) if found == language]


def shell_lines(page):
    """The lines of a page's shell blocks, those continued by a backslash as one."""
    return [line for block in blocks_of(page, "") for line in block.replace("\\\n", " ").splitlines()]


def anchor_of(heading):
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors_of(page):
    return {anchor_of(heading) for heading in re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)}


@pytest.fixture(params=PAGES, ids=lambda page: page.name)
def page(request):
    return request.param


def test_relative_links_lead_somewhere(page):
    broken = []
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        place, _, anchor = link.partition("#")
        target = page.parent / place if place else page
        if not link.startswith("https:") and (not target.exists() or (anchor and anchor not in anchors_of(target))):
            broken.append(link)
    assert broken == []


def test_every_page_is_linked_from_the_readme():
    linked = {(PROJECT / link.partition("#")[0]).resolve() for link in LINK.findall(PAGES[0].read_text())}
    assert [page.name for page in PAGES[1:] if page not in linked] == []


def test_the_readme_is_short():
    lines = PAGES[0].read_text().splitlines()
    assert len(lines) <= 150 and max(map(len, lines)) <= 120


def test_files_exist(page):
    named = {name for code in code_of(page) for name in FILE.findall(code)} - TO_BE_WRITTEN
    ours = {name for name in named if "NAME" not in name}
    assert [name for name in sorted(ours) if not any(PROJECT.glob(name))] == []


def keys_of_methods():
    """Key of a method -> the kinds of methods that have it."""
    kinds = {}
    for kind in METHODS.places:
        for name, _, _ in describe(METHODS.find(kind).Options()):
            kinds.setdefault(f"method.{name}", []).append(kind)
    return kinds


OF_METHODS = keys_of_methods()


def test_commands_exist(page):
    names = {name for code in code_of(page) for name in COMMAND.findall(code)} - {"COMMAND"}
    assert [name for name in sorted(names) if name not in COMMANDS and not is_module(f"pipeline.{name}")] == []
    modules = {name for code in code_of(page) for name in re.findall(r"-m (benchmarks[\w.]+)", code)}
    assert [name for name in sorted(modules) if not is_module(name)] == []
    layouts = {name for code in code_of(page) for name in re.findall(r"--layout ([\w-]+)", code)}
    assert layouts <= {*LAYOUTS, *SYNTHETIC_LAYOUTS, CORRUPTION, RUNS, ALL}
    targets = {name for code in code_of(page) for name in re.findall(r"^make (\w+)", code, re.MULTILINE)}
    assert targets <= set(re.findall(r"^(\w+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))


def is_module(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # what it would be in is no package
        return False


def test_commands_take_the_options_that_are_printed(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for run in ("sysu", "sysu-b2"):
        (tmp_path / "runs" / run).mkdir(parents=True)
        (tmp_path / "runs" / run / "results.csv").touch()
    for line in shell_lines(page):
        found = re.search(r"(?:vireid|-m pipeline[. ]) ?(\w+)(?: (.*))?$", line)
        if found and found[1] in COMMANDS:
            arguments = shlex.split(found[2] or "", comments=True)
            importlib.import_module(f"pipeline.cli.{found[1]}").read_options(arguments)


def test_overrides_are_settings(page):
    overrides = {f"{key}={value}" for code in code_of(page) for key, value in OVERRIDE.findall(code)}
    for override in sorted(overrides - PLACEHOLDERS):
        kinds = OF_METHODS.get(override.partition("=")[0], [None])  # those that have the key
        load_config([*([f"method.type={kinds[0]}"] if kinds[0] else []), override])


def test_keys_are_settings(page):
    known = {name for name, _, _ in describe(Settings())} | OF_METHODS.keys()
    known |= {".".join(name.split(".")[:parts]) for name in known for parts in (1, 2)}
    known |= set(former.KEYS) if page.name == "CHANGELOG.md" else set()  # which tells what they are now
    named = {code for code in code_of(page) if KEY.fullmatch(code)} - known - NO_KEYS
    assert [name for name in sorted(named) if not resolves(f"pipeline.{name}")] == []


def resolves(name):
    """Whether it is a module, or something in one."""
    try:
        return bool(pkgutil.resolve_name(name))
    except (ImportError, AttributeError):
        return False


def test_python_examples_import_what_there_is(page):
    for block in blocks_of(page, "python"):
        imported = re.findall(r"^from ([\w.]+) import (.+)$", block, re.MULTILINE)
        names = {f"{module}.{name}" for module, listed in imported for name in listed.split(", ")}
        assert [name for name in sorted(names) if not resolves(name)] == []
        compile(block, page.name, "exec")


def test_the_examples_would_be_found_wrong():
    assert OVERRIDE.findall("`derive.visible=[a,b:0.5]` or seed=1, /x/data.root=y") == [
        ("derive.visible", "[a,b:0.5]"),
        ("seed", "1"),
    ]
    assert COMMAND.findall("vireid train; python -m pipeline.tables; launch -m pipeline.train; python -m pipeline x")
    assert anchor_of("Methods and parts in YAML") == "methods-and-parts-in-yaml"
    assert not is_module("pipeline.rumors")


# ---------------------------------------------------------------- the map


def test_the_architecture_page_names_every_package_and_module():
    text = (PROJECT / "docs" / "architecture.md").read_text()
    packages = [folder for root in ("pipeline", "dali_ops") for folder in (PROJECT / root).glob("*/__init__.py")]
    names = [f"{file.parent.name}/" for file in packages]
    names += [file.name for root in ("pipeline", "dali_ops") for file in (PROJECT / root).glob("[!_]*.py")]
    names += [f"{name}/" for name in ("configs", "slurm", "benchmarks", "tests")]
    assert [name for name in names if name not in text] == []


def test_what_the_journeys_name_exists():
    (page,) = (page for page in PAGES if page.name == "architecture.md")
    dotted = {code for code in code_of(page) if re.fullmatch(r"[a-z_]+(\.\w+)+", code)}
    names = {name for name in dotted if not name.endswith((".py", ".yaml", ".csv"))}
    assert len(names) > 20
    assert [name for name in sorted(names) if not (resolves(name) or resolves(f"pipeline.{name}"))] == []
    assert not resolves("pipeline.batch.Crowd") and not resolves("pipeline.batch.Batch.crowd")


# ---------------------------------------------------------------- the example of docs/extending.md


@pytest.fixture
def my_project(tmp_path, monkeypatch):
    """The loss term of docs/extending.md, saved as that page says."""
    (code,) = blocks_of(PROJECT / "docs" / "extending.md", "python")
    (tmp_path / "my_project").mkdir()
    (tmp_path / "my_project" / "center.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in ("my_project.center", "my_project"):
        sys.modules.pop(name, None)


def test_yaml_examples_are_configurations(page, my_project):
    for block in blocks_of(page, "yaml"):
        (my_project / "example.yaml").write_text(block)
        load_config([str(my_project / "example.yaml")])


def test_the_example_of_a_loss_term_is_learned_at_a_rate_of_its_own(my_project):
    (block,) = blocks_of(PROJECT / "docs" / "extending.md", "yaml")
    shutil.copytree(PROJECT / "configs", my_project / "configs")
    (my_project / "center.yaml").write_text(block)
    losses = load_config([str(my_project / "configs" / "demo.yaml"), str(my_project / "center.yaml")]).losses
    assert list(losses) == ["identity", "center"]
    context = LossContext((Modality.VISIBLE, Modality.INFRARED), 2, {"global": 3})
    objective = build_objective(losses, context, "global", (2,))
    term = objective.terms["center"]
    group = term.parameter_group(0.1)
    assert (group["params"], group["lr"], group["weight_decay"]) == ([term.centers], 0.5, 0.0)

    generator = torch.Generator().manual_seed(0)
    pooled, logits = torch.randn(4, 3, generator=generator), torch.randn(4, 2, generator=generator)
    labels, modality = torch.tensor([0, 0, 1, 1]), [Modality.VISIBLE] * 4
    rows = {"global": Rows({"pooled": pooled, "embedding": pooled, "logits": logits}, labels, modality)}
    before = objective(rows)
    assert before["center"].item() == pytest.approx(pooled.square().sum().item() / 8)
    before["loss"].backward()
    torch.optim.SGD([group | {"lr": 100.0}]).step()
    assert objective(rows)["center"] < before["center"]


def test_the_example_of_a_loss_term_explains_its_mistakes(my_project):
    with pytest.raises(ValueError, match=r"^losses\.center\.features: expected one; found a, b$"):
        losses = load_config(["losses.center.type=my_project.center:CenterLoss", "losses.center.weight=1"]).losses
        build_objective(losses, LossContext(tuple(Modality), 2, {"a": 3, "b": 3}), "global", (2,))
