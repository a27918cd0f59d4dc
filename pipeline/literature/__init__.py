"""Published figures, per cent, as they were printed: tables 1 to 4 of Liu et al., ICPR 2020."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).parent


def read_literature(name: str) -> pd.DataFrame:
    """`sysu_mm01`, `regdb_visible2thermal`, `same_backbone` or `ablation` -> its rows, text; nothing: not reported."""
    return pd.read_csv(FOLDER / f"{name}.csv", comment="#", dtype=str, keep_default_na=False)


def source_of(name: str) -> str:
    """What the file says of itself, in its first lines."""
    lines = (FOLDER / f"{name}.csv").read_text().splitlines()
    return " ".join(line.lstrip("# ") for line in lines if line.startswith("#"))
