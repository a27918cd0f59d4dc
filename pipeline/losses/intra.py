"""The multi-mode intra-modality loss (MML) of one modality."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pipeline.batch import MODALITY_NAMES
from pipeline.losses.distance import euclidean
from pipeline.losses.hardest import BatchHardLoss, batch_hard_hinge
from pipeline.losses.modalities import modalities_chosen
from pipeline.losses.term import LossContext, Parts, Rows
from pipeline.settings_key import key


def intra_modality_loss(features: torch.Tensor, labels: torch.Tensor, margin: float, reduction: str) -> torch.Tensor:
    """Returns MML(M) = sum over i in M of [a + max_{j in M, y_j = y_i} D_ij - min_{k in M, y_k != y_i} D_ik]_+.

    A scalar. features (N, D) of modality M, labels (N,) int64, a = margin, D Euclidean. The anchor itself is among its
    positives, at distance 0. reduction "sum", or "mean" over the anchors that have a negative. ICPR 2020, slide on MML
    (which prints a plus before the min; with it the loss could not reach 0).
    """
    distance, same_identity = euclidean(features, features), labels[:, None] == labels[None, :]
    return batch_hard_hinge(features, features, distance, same_identity, margin, reduction)


class IntraModalityLoss(BatchHardLoss):
    """MML: the sum of `intra_modality_loss` over modalities. One without rows counts 0."""

    @dataclass(frozen=True)
    class Options(BatchHardLoss.Options):
        modalities: list[str] | None = key(
            None, "modalities summed over; null: all in batch.modalities", choices=MODALITY_NAMES
        )

    settings: Options

    def __init__(self, settings: Options, context: LossContext) -> None:
        super().__init__(settings, context)
        self.modalities = modalities_chosen(settings.modalities, settings.weight, context)

    def forward(self, rows: Rows) -> Parts:
        parts = {}
        for modality in self.modalities:
            own = rows.of(modality)
            parts[modality.key] = intra_modality_loss(self.vectors(own), own.labels, *self.hinge)
        return parts
