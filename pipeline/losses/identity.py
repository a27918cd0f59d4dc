"""The identity loss (ID)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from pipeline.losses.term import LossTerm, Rows
from pipeline.settings_key import key


def identity_loss(logits: torch.Tensor, labels: torch.Tensor, label_smoothing: float = 0.0) -> torch.Tensor:
    """Returns the mean over rows i of - sum_c q_ic log softmax(logits_i)_c, with q_i = (1 - s) onehot(y_i) + s / C.

    logits (B, C), computed in float32 or wider; labels (B,) int64 in 0 .. C - 1; s = label_smoothing in 0 .. 1.
    """
    dtype = torch.promote_types(logits.dtype, torch.float32)
    return functional.cross_entropy(logits.to(dtype), labels, label_smoothing=label_smoothing)


class IdentityLoss(LossTerm):
    """`identity_loss` of this rank's rows."""

    @dataclass(frozen=True)
    class Options(LossTerm.Options):
        label_smoothing: float = key(0.0, "share of the target spread over all identities, 0-1", min=0, max=1)

    settings: Options
    reads = ("logits",)
    compares_rows = False

    def forward(self, rows: Rows) -> torch.Tensor:
        return identity_loss(rows.logits, rows.labels, self.settings.label_smoothing)
