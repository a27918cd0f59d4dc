"""The orthogonality of further versions of an image, of DEEN (Zhang, Wang, CVPR 2023, eq. 6)."""

from __future__ import annotations

from itertools import combinations

import torch

from pipeline.losses.term import FeatureTerm, LossContext, Rows, check_versions


class OrthogonalityLoss(FeatureTerm):
    """Sum over pairs of versions a < b, but the first, of (1 / N) sum_i <f_i^a, f_i^b>: i are the images, N the rows of
    all versions. The products are not of unit length, and have no lower bound.

    As in the authors' code (ZYK100/LLCM 886e27c).
    """

    compares_rows = False  # those compared are of one image

    def __init__(self, settings: FeatureTerm.Options, context: LossContext) -> None:
        super().__init__(settings, context)
        check_versions("orthogonality", 3, context)

    def forward(self, rows: Rows) -> torch.Tensor:
        _, *further = self.vectors(rows).chunk(self.context.versions)
        products = [(one * other).sum() for one, other in combinations(further, 2)]
        return torch.stack(products).sum() / len(rows)
