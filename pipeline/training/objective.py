"""The loss of a global batch, computed by ranks that each hold a part of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.batch import Batch
from pipeline.losses.total import Parts, TotalLoss
from pipeline.models.reid import ReIDOutput
from pipeline.training.gathering import gather_rows


@dataclass(frozen=True)
class Objective:
    """What each rank minimises. The mean over the ranks is the loss of the global batch, and so are the gradients that
    DDP averages; with global mining they do not depend on how many ranks share the batch.

    mining      "global": the metric losses look for their hardest pairs among the rows of all ranks; "local": among a
                rank's own, which needs no exchange
    identities  of a global batch on each rank
    """

    loss: TotalLoss
    mining: str
    identities: Sequence[int]
    rank: int = 0

    def __call__(self, output: ReIDOutput, batch: Batch) -> Parts:
        """The parts of `TotalLoss`; a rank with more rows than others counts more."""
        ranks, mine = len(self.identities), self.identities[self.rank]
        share = mine * ranks / sum(self.identities)
        rows = [identities * (len(batch) // mine) for identities in self.identities]
        if self.mining == "local":
            pooled, labels, modality = output.pooled, batch.label, batch.modality
            pooled_share = share if self.loss.reduction == "mean" else float(ranks)
        else:
            pooled, labels = gather_rows(output.pooled, rows), gather_rows(batch.label, rows)
            modality = modality_of_ranks(batch.modality, rows)
            pooled_share = 1.0
        return self.loss(
            logits=output.logits,
            labels=batch.label,
            pooled=pooled,
            pooled_labels=labels,
            pooled_modality=modality,
            logits_share=share,
            pooled_share=pooled_share,
        )


def modality_of_ranks(modality: Sequence[int], rows: Sequence[int]) -> list[int]:
    """The modality of every rank's rows: on each they stand together, in the same order and equally many."""
    kinds = list(dict.fromkeys(modality))
    return [kind for count in rows for kind in kinds for _ in range(count // len(kinds))]
