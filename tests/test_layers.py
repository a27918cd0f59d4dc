"""Who may import whom: packages import downwards only, there are no cycles, and the code knows nothing of its tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
SOURCES = ("pipeline", "dali_ops")
OUTSIDE = ("benchmarks", "tests")  # may import all of the sources, and are imported by none

# From the bottom to the top. What stands in a line imports from the lines above it here, not from its own.
# A name stands for a module or a package with all in it; the longest name that fits counts. Version and docstring of
# `pipeline` itself are for all.
LAYERS = """
dali_ops pipeline.corruptions
pipeline.batch pipeline.errors pipeline.files pipeline.former pipeline.gathering pipeline.locking
pipeline.metric_columns pipeline.pixels pipeline.precision pipeline.settings_key pipeline.routing pipeline.shipped
pipeline.text pipeline.weights_source
pipeline.parts
pipeline.settings
pipeline.layering pipeline.optimization pipeline.protocols
pipeline.datasets
pipeline.config pipeline.synthetic
pipeline.normalization pipeline.recipe
pipeline.cli pipeline.loading pipeline.models
pipeline.checks pipeline.distributed pipeline.losses
pipeline.build pipeline.methods
pipeline.run pipeline.tracking
pipeline.evaluation pipeline.literature
pipeline.training
pipeline.tables
pipeline.figures
pipeline.report
pipeline.api pipeline.evaluate pipeline.prepare pipeline.sweep pipeline.train pipeline.translate
"""
# `__main__` modules are above all. What only these may import, whatever their layers:
ONLY_FOR = {"pipeline.synthetic": ("pipeline.synthetic", "pipeline.cli.synthetic")}  # readers of data don't know it


def read_modules(root: Path, packages: tuple[str, ...] = SOURCES) -> dict[str, ast.Module]:
    """Name -> syntax tree of every module below `root`; a package has the name of its folder."""
    files = [file for package in packages for file in sorted((root / package).rglob("*.py"))]
    names = [".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__") for file in files]
    return {name: ast.parse(file.read_text()) for name, file in zip(names, files, strict=True)}


def imported_names(tree: ast.AST) -> Iterator[str]:
    """All that is imported anywhere in a module, but for what it imports only where it is run as a command."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from imported_names(node)


def imports_of(modules: dict[str, ast.Module]) -> dict[str, set[str]]:
    """Module -> the modules among `modules`, and of `OUTSIDE`, that it imports."""
    found: dict[str, set[str]] = {}
    for module, tree in modules.items():
        names = {longest_prefix(name, (*modules, *OUTSIDE)) for name in imported_names(tree)}
        found[module] = {name for name in names if name} - {module}
    return found


def longest_prefix(name: str, known: tuple[str, ...]) -> str:
    """The longest of the `known` names that `name` is or lies in; nothing where there is none."""
    return max((other for other in known if f"{name}.".startswith(f"{other}.")), key=len, default="")


def violations(modules: dict[str, ast.Module], layers: str = LAYERS) -> list[str]:
    """A line for each import against the layers, and for each module that is in none."""
    level_of = {name: level for level, line in enumerate(layers.split("\n")) for name in line.split()}
    layer_of = {module: longest_prefix(module, tuple(level_of)) for module in modules if module != "pipeline"}
    lines = [f"{module} is in no layer" for module, layer in layer_of.items() if not layer and not is_entry(module)]
    for module, imported in imports_of(modules).items():
        for other in sorted(imported):
            if longest_prefix(other, OUTSIDE):
                lines.append(f"{module} imports {other}, which nothing here may")
                continue
            only = ONLY_FOR.get(longest_prefix(other, tuple(ONLY_FOR)))
            if only and not longest_prefix(module, only):
                lines.append(f"{module} imports {other}, which is for {' and '.join(only)} alone")
            own, its = layer_of.get(module), layer_of.get(other)
            if own and its and own != its and not is_entry(module) and level_of[its] >= level_of[own]:
                lines.append(f"{module} imports {other}, which isn't below it")
    return lines


def is_entry(module: str) -> bool:
    return module.endswith("__main__")


@pytest.fixture(scope="module")
def modules() -> dict[str, ast.Module]:
    return read_modules(PROJECT)


def test_imports_go_downwards(modules):
    assert len(modules) > 100
    assert violations(modules) == []


def test_no_module_imports_itself_by_way_of_others(modules):
    list(TopologicalSorter(imports_of(modules)).static_order())  # CycleError names the modules


def test_every_layer_is_there(modules):
    assert [name for name in LAYERS.split() if name not in modules] == []


PLANTED = {
    "dali_ops/__init__.py": "",
    "dali_ops/decode.py": "import numpy as np",
    "pipeline/__init__.py": "",
    "pipeline/text.py": "import os",
    "pipeline/datasets/__init__.py": "from pipeline.datasets import folder",
    "pipeline/datasets/folder.py": "from pipeline.text import nearest\nfrom dali_ops.decode import decode",
    "pipeline/synthetic/__init__.py": "",
    "pipeline/synthetic/__main__.py": "from pipeline.prepare import main",
    "pipeline/prepare.py": "if __name__ == '__main__':\n    import pipeline.train\nimport pipeline.datasets.folder",
    "pipeline/train.py": "",
}


def plant(root: Path, **more: str) -> dict[str, ast.Module]:
    for name, text in (PLANTED | {f"{name.replace('__', '/')}.py": text for name, text in more.items()}).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return read_modules(root)


def test_a_tree_without_mistakes_passes(tmp_path):
    assert violations(plant(tmp_path)) == []


ONLY = "for pipeline.synthetic and pipeline.cli.synthetic alone"
DEEP = "def read():\n    try:\n        from pipeline.prepare import inspect\n    except ImportError:\n        pass"


@pytest.mark.parametrize(
    ("module", "text", "imported"),
    [
        ("dali_ops.decode", "from pipeline import text", "pipeline.text, which isn't below it"),
        ("pipeline.text", "import pipeline.train as t", "pipeline.train, which isn't below it"),
        ("pipeline.datasets.folder", DEEP, "pipeline.prepare, which isn't below it"),
        ("pipeline.train", "import pipeline.prepare", "pipeline.prepare, which isn't below it"),
        ("pipeline.train", "from tests import rows", "tests, which nothing here may"),
        ("dali_ops.decode", "import benchmarks.peers", "benchmarks, which nothing here may"),
        ("pipeline.prepare", "from pipeline.synthetic import generation", f"pipeline.synthetic, which is {ONLY}"),
    ],
)
def test_a_planted_import_is_found(tmp_path, module, text, imported):
    planted = plant(tmp_path, **{module.replace(".", "__"): text})
    assert violations(planted) == [f"{module} imports {imported}"]


def test_a_planted_module_of_no_layer_is_found(tmp_path):
    assert violations(plant(tmp_path, pipeline__rumors="")) == ["pipeline.rumors is in no layer"]


def test_a_planted_cycle_is_found(tmp_path):
    there, back = "import pipeline.datasets.b", "from pipeline.datasets import a"
    modules = plant(tmp_path, pipeline__datasets__a=there, pipeline__datasets__b="")
    list(TopologicalSorter(imports_of(modules)).static_order())
    modules = plant(tmp_path, pipeline__datasets__a=there, pipeline__datasets__b=back)
    with pytest.raises(CycleError, match=r"pipeline\.datasets\.a"):
        list(TopologicalSorter(imports_of(modules)).static_order())
