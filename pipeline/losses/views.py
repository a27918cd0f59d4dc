"""Which camera saw a person, told from the feature of its modality: the view classifier of MSR, as we read it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pipeline.losses.identity import identity_loss
from pipeline.losses.term import LossContext, LossTerm, Rows
from pipeline.models.classifier import classifiers_of_captured
from pipeline.settings_key import key


class ViewLoss(LossTerm):
    """Sum over modalities in use of the cross-entropy of the cameras, by a linear classifier of each captured modality
    on the pooled feature.

    Feng, Lai, Xie, "Learning Modality-Specific Representations", TIP 2020: there is no public code, and only the
    abstract was read. A camera's class is its number modulo `views`.
    """

    @dataclass(frozen=True)
    class Options(LossTerm.Options):
        views: int = key(16, "classes of cameras; numbers that differ by a multiple of it are one class", min=2)

    settings: Options
    reads = ("pooled", "camera")
    compares_rows = False

    def __init__(self, settings: Options, context: LossContext) -> None:
        super().__init__(settings, context)
        width = self.width_of("pooled")
        self.classifiers = classifiers_of_captured(context.modalities, width, settings.views, bias=True)

    def forward(self, rows: Rows) -> torch.Tensor:
        divided = [(rows.of(modality), self.classifiers[modality.base.key]) for modality in self.context.modalities]
        losses = [
            identity_loss(classifier(own.pooled), own.camera % self.settings.views)
            for own, classifier in divided
            if len(own)
        ]
        return torch.stack(losses).sum()
