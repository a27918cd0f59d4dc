"""The columns of metrics.csv that name parts of the loss."""

from __future__ import annotations

from collections.abc import Sequence

# columns of a row next to the parts of the loss
POSITION = ("step", "epoch", "lr")
MEASURED = ("gradient_norm", "images_per_second", "waiting_for_data", "replaced_images")
# of a validation, in per cent; empty in rows without one -> the metric
VALIDATION = {"val_mAP": "mAP", "val_rank_1": "rank_1", "val_mINP": "mINP"}


def main_parts(names: Sequence[str]) -> list[str]:
    """Returns the loss and its terms among the names, without what a term is made of: `cross`, not `cross_<pair>`."""
    parts = [name for name in names if name not in (*POSITION, *MEASURED, *VALIDATION)]
    return [name for name in parts if not any(name.startswith(f"{other}_") for other in parts)]
