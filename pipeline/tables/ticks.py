"""The tick marks of table 4: which modalities and losses a run trained with, read from its configuration."""

from __future__ import annotations

from pipeline.literature import read_literature
from pipeline.methods.method import method_of
from pipeline.settings import Settings

# Columns of literature/ablation.csv: the heading and the name they are printed with.
TICKS = {
    "infrared": ("modality", "I"),
    "visible": ("modality", "V"),
    "infrared_derived": ("modality", "D_I"),
    "visible_derived": ("modality", "D_V"),
    "id": ("loss", "ID"),
    "mml": ("loss", "MML"),
    "mdl_i_v": ("MDL", "I, V"),
    "mdl_v_di": ("MDL", "V, D_I"),
    "mdl_i_dv": ("MDL", "I, D_V"),
    "mdl_di_dv": ("MDL", "D_I, D_V"),
}
Ticks = tuple[bool, ...]  # one for each of TICKS
# What tables 1 to 3 call rows of table 4.
ROWS = {"Baseline": "B2", "Base-Derivative": "B2+MML+MDL4"}


def ticks_by_row() -> dict[str, Ticks]:
    """Returns the ticks of each row of the literature's table 4, B1, B2, ..., and of those that tables 1 to 3 show."""
    rows = read_literature("ablation")
    ticks = {row["row"]: tuple(row[name] == "1" for name in TICKS) for _, row in rows.iterrows()}
    return ticks | {name: ticks[row] for name, row in ROWS.items()}


def ticks_of(settings: Settings) -> Ticks:
    """Returns the ticks of a run's settings. Raises ValueError, which says what differs, for another method."""
    columns = method_of(settings).columns(settings)
    return tuple(columns[name] for name in TICKS)
