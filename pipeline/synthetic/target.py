"""The folder that a data set is generated in: taken only where it is new, empty or generated before."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from pipeline.datasets.marker import MARKER, UNFINISHED_MARKER, read_marker


def prepare_target(root: Path, settings: dict[str, Any], force: bool) -> bool:
    """Makes `root` ours to write to; returns False where the complete set is already there.

    Raises ValueError where it holds anything else; `force` clears a generated set of other settings.
    """
    if root.exists() and not root.is_dir():
        raise ValueError(f"root {root}: expected a folder or nothing; found a file; choose another --root")
    found = read_marker(root)
    if found is None and root.is_dir() and any(root.iterdir()):
        raise ValueError(
            f"root {root}: the folder is not empty and has no {MARKER}, so it was not generated here; "
            "choose another --root (--force does not delete it either)"
        )
    if found is not None and found != settings and not force:
        raise ValueError(
            f"root {root}: {_difference(found, settings)}; choose another --root or replace it with --force"
        )
    if found == settings and (root / MARKER).exists() and not force:
        return False
    root.mkdir(parents=True, exist_ok=True)
    if found is not None and force:
        _clear(root, found)
    _write_text(root / UNFINISHED_MARKER, json.dumps(settings, indent=1) + "\n")
    return True


def mark_complete(root: Path) -> None:
    os.replace(root / UNFINISHED_MARKER, root / MARKER)


def _difference(found: dict[str, Any], settings: dict[str, Any]) -> str:
    keys = [key for key in {**settings, **found} if found.get(key) != settings.get(key)]
    expected, there = (
        ", ".join(f"{key} {values[key]}" for key in keys if key in values) for values in (settings, found)
    )
    return f"expected a set with {expected}; found one with {there}"


def _clear(root: Path, found: dict[str, Any]) -> None:
    """Deletes all in a folder of ours, its marker staying till the end so that an interruption can be repaired."""
    _write_text(root / UNFINISHED_MARKER, json.dumps(found, indent=1) + "\n")
    (root / MARKER).unlink(missing_ok=True)
    for entry in root.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != UNFINISHED_MARKER:
            entry.unlink()


def _write_text(path: Path, text: str) -> None:
    """Writes all or nothing, so that a marker is never half written."""
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    os.replace(part, path)
