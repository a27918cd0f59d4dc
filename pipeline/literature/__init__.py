"""Published results, per cent: tables 1 to 4 of Liu et al., ICPR 2020. The first line of each file is its source."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).parent


def read_literature(name: str) -> pd.DataFrame:
    """Returns the rows of a file here, as `sysu_mm01` or `ablation`; all text, empty where nothing is reported."""
    return pd.read_csv(FOLDER / f"{name}.csv", comment="#", dtype=str, keep_default_na=False)
