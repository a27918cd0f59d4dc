"""The file that marks a generated data set as such, and says what was generated (`pipeline.synthetic`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MARKER = "synthetic.json"
UNFINISHED_MARKER = "synthetic.unfinished.json"
MADE_BY = "pipeline.datasets.synthetic"  # the generator's name when it began; sets of any age are known by it


def read_marker(root: Path) -> dict[str, Any] | None:
    """Returns the settings of the set in `root`, complete or not; None where no marker says that it was generated."""
    for name in (MARKER, UNFINISHED_MARKER):
        try:
            found = json.loads((root / name).read_text())
        except (OSError, ValueError):
            continue
        if isinstance(found, dict) and found.get("made_by") == MADE_BY:
            return found
    return None


def has_published_shape(root: str | Path) -> bool:
    """Returns whether `root` holds synthetic people in a published size: of scale 1, or of a shape file."""
    root = Path(root)
    found = read_marker(root) if (root / MARKER).is_file() else None
    return found is not None and (found.get("scale") == 1 or "shape_sha256" in found)
