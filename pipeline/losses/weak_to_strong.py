"""The weak-to-strong term of CAJ+ (Ye et al., TPAMI 2023): one version of an image learns what another predicts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from pipeline.losses.modalities import check_in_use, modalities_of
from pipeline.losses.term import LossContext, LossTerm, Rows
from pipeline.settings_key import key


def weak_to_strong_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Returns - mean_i sum_c softmax(teacher_i)_c log softmax(student_i)_c, a scalar.

    student, teacher (B, C) logits, float32 or wider; their rows i are versions of one image. The teacher gets no
    gradient. 0 for no rows.
    """
    if not len(student):
        return student.sum() * 0  # still part of the graph
    return functional.cross_entropy(student, teacher.detach().softmax(dim=1))


class WeakToStrongLoss(LossTerm):
    """`weak_to_strong_loss` of a captured modality and its derivative, whose rows are in the same order."""

    @dataclass(frozen=True)
    class Options(LossTerm.Options):
        student: str = key("visible", "modality that learns")
        teacher: str = key("visible_derived", "its other version, whose predictions are the targets")

    settings: Options
    reads = ("logits",)
    compares_rows = False

    def __init__(self, settings: Options, context: LossContext) -> None:
        super().__init__(settings, context)
        for argument in ("student", "teacher"):
            check_in_use(argument, modalities_of(argument, [getattr(settings, argument)]), context)
        self.student, self.teacher = modalities_of("student", [settings.student, settings.teacher])
        if self.student == self.teacher or self.student.base != self.teacher.base:
            raise ValueError(
                f"teacher: expected the other version of {self.student.key} images; found {self.teacher.key}"
            )

    def forward(self, rows: Rows) -> torch.Tensor:
        return weak_to_strong_loss(rows.of(self.student).logits, rows.of(self.teacher).logits)
