"""Results as scalars by name, as trackers take them."""

from __future__ import annotations

import pandas as pd

from pipeline.evaluation.results.means import summarize
from pipeline.evaluation.results.wording import corrupted

SHOWN = ("rank_1", "mAP", "mINP")
PARTS = ("direction", "mode", "shots")  # what tells the means of one evaluation apart


def named_means(rows: pd.DataFrame) -> dict[str, float]:
    """Returns the means over the trials of one evaluation, per cent, as `test/all/mAP`.

    Between are the direction, mode and shots, those that differ, or else the mode. They are of images as they were
    captured, where there are means of those.
    """
    means = summarize(rows)
    means = means if corrupted(means).all() else means[~corrupted(means)]
    parts = [name for name in PARTS if means[name].nunique() > 1] or ["mode"]
    return {
        "/".join(["test", *(str(mean[part]) for part in parts), metric]): float(mean[metric])
        for _, mean in means.iterrows()
        for metric in SHOWN
    }
