"""Tables 3 and 4 of Liu et al., ICPR 2020, which show two data sets side by side."""

from __future__ import annotations

from pipeline.datasets.columns import Column, Layout, columns
from pipeline.datasets.regdb import SHOWN
from pipeline.datasets.sysu import SYSU

PAPER = "Liu et al., ICPR 2020"
RANKS = (1,)


def columns_of_both() -> list[Column]:
    """Returns rank-1 and mAP of RegDB from visible to infrared, and of both modes of SYSU-MM01."""
    modes = list(SYSU.published.galleries)
    of_modes = [columns(f"{mode}-search", mode, RANKS, dataset=SYSU.name, mode=mode) for mode in modes]
    return [column for shown in (columns("RegDB", "regdb", RANKS, **SHOWN), *of_modes) for column in shown]


TABLES_OF_BOTH = {
    "same-backbone": Layout(
        f"The same backbone, per cent (table 3 of {PAPER})",
        columns_of_both(),
        "mode",
        "same_backbone",
        venue=False,
        trained=True,
        backbone="resnet50",
    ),
    "ablation": Layout(
        f"Ablation, per cent (table 4 of {PAPER})",
        columns_of_both(),
        "mode",
        "ablation",
        label="row",
        venue=False,
        trained=True,
        ticks=True,
    ),
}
