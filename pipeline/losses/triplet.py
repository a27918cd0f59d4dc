"""The batch-hard triplet loss over rows of several modalities together."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pipeline.losses.hardest import BatchHardLoss
from pipeline.losses.intra import intra_modality_loss
from pipeline.losses.modalities import modalities_chosen
from pipeline.losses.term import LossContext, Rows
from pipeline.settings_key import key


class TripletLoss(BatchHardLoss):
    """The mean over pools of modalities of the hinge on each row's hardest positive and negative of its pool.

    Hermans et al., "In Defense of the Triplet Loss for Person Re-Identification", 2017, eq. 5. One pool of all is that
    of AGW's baseline and DEEN, four pairs that of MMN. A pool without rows counts 0.
    """

    @dataclass(frozen=True)
    class Options(BatchHardLoss.Options):
        pools: list[list[str]] | None = key(
            None, "modalities whose rows are compared together, several times if you like; null: all in one pool"
        )

    settings: Options

    def __init__(self, settings: Options, context: LossContext) -> None:
        super().__init__(settings, context)
        names = [None] if settings.pools is None else settings.pools
        if not names:
            raise ValueError("pools: expected one or more; found none (weight 0 switches the term off)")
        try:
            self.pools = [modalities_chosen(pool, settings.weight, context) for pool in names]
        except ValueError as error:
            raise ValueError(f"pools: {error}") from None

    def forward(self, rows: Rows) -> torch.Tensor:
        values = []
        for pool in self.pools:
            vectors, labels = self.together(rows, pool)
            values.append(intra_modality_loss(vectors, labels, *self.hinge))
        return torch.stack(values).mean()
