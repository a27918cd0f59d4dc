"""Configurations and lists of runs that come with the project, found from any folder."""

from __future__ import annotations

from pathlib import Path

CONFIGS = "configs"  # next to the package in a checkout, within it where it is installed (setup.py)


def find_shipped(file: Path) -> Path:
    """Returns `file`; where it isn't there, the one that comes with the project, e.g. of `configs/demo.yaml`."""
    if file.exists() or file.parts[:1] != (CONFIGS,):
        return file
    package = Path(__file__).parent
    root = package if (package / CONFIGS).is_dir() else package.parent
    return shipped if (shipped := root / file).is_file() else file
