"""MPANet's modality learning (Wu et al., CVPR 2021): a classifier of each modality, which agrees with the other's."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from pipeline.batch import CAPTURED, Modality
from pipeline.losses.identity import identity_loss
from pipeline.losses.term import LossContext, LossTerm, Parts, Rows
from pipeline.settings_key import key


class ModalityLearningLoss(LossTerm):
    """For the embeddings g of each captured modality M, with a classifier W_M of its own:

    specific    sum over M of the mean over M's rows of CE(W_M g)
    divergence  k times the mean over all rows of sum_c p_c (log p_c - log q_c), with p = softmax(W_M g) and
                q = softmax(E_M' g) by the moving average E of the other modality's classifier

    The gradient is that of p; q has none. As in DoubtedSteam/MPANet f57fd5c: it is p that is fitted to q, by the
    divergence from p, the reverse of distillation's; each CE is counted twice at a weight of 0.5. Derivatives are rows
    of their captured modality. E starts as W; before each step E becomes (1 - u) E + u W, with u = `rate` up to
    `constant_epochs`, then falling as 1 / epoch.
    """

    @dataclass(frozen=True)
    class Options(LossTerm.Options):
        divergence: float = key(2.5, "k, weight of the divergence", min=0)
        rate: float = key(0.2, "u of the moving averages, 0-1", min=0, max=1)
        constant_epochs: int = key(100, "epochs after which u falls", min=1)

    settings: Options
    reads = ("embedding",)
    compares_rows = False

    def __init__(self, settings: Options, context: LossContext) -> None:
        super().__init__(settings, context)
        if {modality.base for modality in context.modalities} != set(CAPTURED):
            raise ValueError("type: modality learning needs both captured modalities in use")
        width = self.width_of("embedding")
        made = {base: nn.Linear(width, context.identities, bias=False) for base in CAPTURED}
        self.classifiers = nn.ModuleDict({base.key: classifier for base, classifier in made.items()})
        for base, classifier in made.items():
            self.register_buffer(f"average_{base.key}", classifier.weight.detach().clone())

    @torch.no_grad()
    def begin_step(self, step: int, steps_per_epoch: int) -> None:
        epoch = step // steps_per_epoch
        rate = self.settings.rate * min(self.settings.constant_epochs / (epoch + 1), 1)
        for base in CAPTURED:
            classifier = self.classifiers[base.key]
            assert isinstance(classifier, nn.Linear)
            self.average_of(base).lerp_(classifier.weight, rate)

    def average_of(self, base: Modality) -> torch.Tensor:
        """Returns E of a captured modality, (C, D)."""
        return self.get_buffer(f"average_{base.key}")

    def forward(self, rows: Rows) -> Parts:
        specific, divergences = [], []
        for base in CAPTURED:
            of_base = [rows.of(modality) for modality in self.context.modalities if modality.base == base]
            labels = torch.cat([part.labels for part in of_base])
            if not len(labels):
                continue
            embeddings = torch.cat([part.embedding for part in of_base])
            logits = self.classifiers[base.key](embeddings)
            specific.append(identity_loss(logits, labels))
            other = functional.linear(embeddings.detach(), self.average_of(base.other))
            divergences.append(divergence_of_rows(logits, other))
        if not specific:
            return {"specific": rows.embedding.sum() * 0, "divergence": rows.embedding.sum() * 0}
        divergence = torch.cat(divergences).mean()
        return {"specific": torch.stack(specific).sum(), "divergence": self.settings.divergence * divergence}


def divergence_of_rows(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Returns sum_c p_ic (log p_ic - log q_ic) of each row, (B,), with p = softmax(logits) and q = softmax(target).

    logits, target (B, C), float32 or wider; the target gets no gradient.
    """
    log_p, log_q = logits.log_softmax(dim=1), target.detach().log_softmax(dim=1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=1)
