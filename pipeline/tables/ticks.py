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


def ticks_by_row() -> dict[str, Ticks]:
    """Returns the ticks of each row of the literature's table 4: B1, B2, ..."""
    rows = read_literature("ablation")
    return {row["row"]: tuple(row[name] == "1" for name in TICKS) for _, row in rows.iterrows()}


def ticks_of(settings: Settings) -> Ticks:
    """Returns the ticks of a run's settings. Raises ValueError, which says what differs, for another method."""
    columns = method_of(settings).columns(settings)
    return tuple(columns[name] for name in TICKS)
