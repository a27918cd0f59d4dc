"""MPANet's separation of patterns (Wu et al., CVPR 2021): their masks should look at different places."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pipeline.losses.term import LossTerm, Rows


def mask_separation_loss(masks: torch.Tensor) -> torch.Tensor:
    """Returns the mean over images i and pairs of patterns q < r of sum_n A_iqn A_irn, a scalar.

    masks A: (B, Q, N) of Q patterns at N places, float32 or wider. 0 for a single pattern, or no image.
    """
    images, patterns, _ = masks.shape
    # twice the sum over pairs is the square of the sum less the sum of squares
    twice = (masks.sum(dim=1).square() - masks.square().sum(dim=1)).sum(dim=1)
    return twice.sum() / max(images * patterns * (patterns - 1), 1)


class MaskSeparationLoss(LossTerm):
    """`mask_separation_loss` of features that have masks."""

    @dataclass(frozen=True)
    class Options(LossTerm.Options):
        pass

    settings: Options
    reads = ("masks",)
    compares_rows = False

    def forward(self, rows: Rows) -> torch.Tensor:
        return mask_separation_loss(rows.masks)
