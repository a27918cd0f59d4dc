"""Classifiers of each modality beside the shared one, which teaches them: MAC and MACE (Ye et al.), as we read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from pipeline.losses.distillation import teaching_loss
from pipeline.losses.identity import identity_loss
from pipeline.losses.term import LossContext, LossTerm, Parts, Rows
from pipeline.models.classifier import classifiers_of_captured
from pipeline.settings_key import key


class CollaborativeLoss(LossTerm):
    """Sum over modalities M in use, each with the classifier W of its captured modality, of

    specific  CE(W g): the identity loss of M's rows
    teaching  k KL_T(E -> W g), `teaching_loss` by E: the shared logits (MAC), or the mean of these and of all specific
              classifiers' (MACE)

    g is the embedding, also where a head has an activation between it and the shared classifier. Ye, Lan, Leng,
    "Modality-aware Collaborative Learning", ACM MM 2019, and Ye, Lan, Leng, Shen, TIP 2020: there is no public code,
    and only their abstracts were read. k, T and which teaches are ours.
    """

    @dataclass(frozen=True)
    class Options(LossTerm.Options):
        teacher: Literal["shared", "ensemble"] = key("shared", "the shared classifier (MAC) or the mean of all (MACE)")
        teaching: float = key(1.0, "k, weight of the divergence", min=0)
        temperature: float = key(3.0, "T of both predictions", min=0.01)

    settings: Options
    reads = ("embedding", "logits")
    compares_rows = False

    def __init__(self, settings: Options, context: LossContext) -> None:
        super().__init__(settings, context)
        width = self.width_of("embedding")
        self.classifiers = classifiers_of_captured(context.modalities, width, context.identities)

    def forward(self, rows: Rows) -> Parts:
        specific, teaching = [], []
        for modality in self.context.modalities:
            own = rows.of(modality)
            if not len(own):
                continue
            logits = {base: classifier(own.embedding) for base, classifier in self.classifiers.items()}
            taught = logits[modality.base.key]
            specific.append(identity_loss(taught, own.labels))
            teaching.append(teaching_loss(taught, self._teacher(own.logits, logits), self.settings.temperature))
        return {"specific": sum_of(specific), "teaching": self.settings.teaching * sum_of(teaching)}

    def _teacher(self, shared: torch.Tensor, specific: dict[str, torch.Tensor]) -> torch.Tensor:
        if self.settings.teacher == "shared":
            return shared
        return torch.stack([shared, *specific.values()]).mean(dim=0)


def sum_of(values: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack(values).sum()
