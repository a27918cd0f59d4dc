"""Values of the public code of HCT and MMN beside ours, for `tests.losses.published`."""

from __future__ import annotations

import torch

from pipeline.losses.hetero_center import hetero_center_triplet_loss
from tests.losses.published_case import INFRARED, VISIBLE, Case, of_features


def hetero_center(case: Case) -> torch.Tensor:
    return hetero_center_triplet_loss(*case.of(VISIBLE), *case.of(INFRARED), 0.3)


QUANTITIES = [
    of_features("hct", "hetero_center_triplet_m03", hetero_center),
]
