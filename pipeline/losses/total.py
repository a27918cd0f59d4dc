"""The weighted sum of all losses, and each of its parts by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pipeline.batch import Modality
from pipeline.losses.cross import cross_modality_loss
from pipeline.losses.hardest import REDUCTIONS
from pipeline.losses.identity import identity_loss
from pipeline.losses.intra import intra_modality_loss
from pipeline.models.routing import rows_of, runs_of

Parts = dict[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class TotalLoss:
    """L = w_id ID + w_intra sum_M MML(M) + w_cross sum_(M1,M2) MDL(M1 <-> M2).

    modalities       in use
    intra            those with an MML term; None: all in use
    cross            pairs with an MDL term
    margin           a of MML and MDL, in units of the feature distance
    reduction        "mean" or "sum" over anchors
    *_weight         >= 0; a term of weight 0 is neither computed nor reported
    label_smoothing  0 .. 1, of ID

    ValueError: a modality not in use, a pair twice or of one modality with itself, nothing switched on, a number out of
    its range.
    """

    modalities: Sequence[Modality]
    intra: Sequence[Modality] | None = None
    cross: Sequence[tuple[Modality, Modality]] = ()
    margin: float = 0.3
    reduction: str = "mean"
    identity_weight: float = 1.0
    intra_weight: float = 1.0
    cross_weight: float = 1.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        _check_modalities(self)
        _check_numbers(self)

    def __call__(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        pooled: torch.Tensor,
        pooled_labels: torch.Tensor,
        pooled_modality: torch.Tensor | Sequence[int],
        logits_share: float = 1.0,
        pooled_share: float = 1.0,
    ) -> Parts:
        """Scalars: "loss" with its graph, then detached and unweighted "identity", "intra" (the sum over modalities),
        "intra_<modality>" each, "cross" (the sum over pairs), "cross_<first>_<second>" each.

        logits (B, C) and labels (B,): this process's rows. pooled (N, D), pooled_labels (N,) on the device and
        pooled_modality (N,) on the host: the rows of all processes, so that the hardest pairs do not depend on how
        many share the batch. A modality without rows counts 0. The shares are factors of ID, and of MML and MDL, where
        their rows are a part of the batch only (`pipeline.training.objective`).
        """
        rows = _by_modality(pooled, pooled_labels, pooled_modality)
        terms: list[tuple[float, str, Parts]] = []
        if self.identity_weight:
            identity = {"": identity_loss(logits, labels, self.label_smoothing)}
            terms.append((self.identity_weight, "identity", _scaled(identity, logits_share)))
        if self.intra_weight and self._intra:
            terms.append((self.intra_weight, "intra", _scaled(self._intra_parts(rows), pooled_share)))
        if self.cross_weight and self.cross:
            terms.append((self.cross_weight, "cross", _scaled(self._cross_parts(rows), pooled_share)))
        return _report(terms)

    @property
    def _intra(self) -> Sequence[Modality]:
        return self.modalities if self.intra is None else self.intra

    def _intra_parts(self, rows: dict[Modality, tuple[torch.Tensor, torch.Tensor]]) -> Parts:
        return {m.key: intra_modality_loss(*rows[m], self.margin, self.reduction) for m in self._intra}

    def _cross_parts(self, rows: dict[Modality, tuple[torch.Tensor, torch.Tensor]]) -> Parts:
        return {
            f"{first.key}_{second.key}": cross_modality_loss(*rows[first], *rows[second], self.margin, self.reduction)
            for first, second in self.cross
        }


def _by_modality(
    pooled: torch.Tensor, labels: torch.Tensor, modality: torch.Tensor | Sequence[int]
) -> dict[Modality, tuple[torch.Tensor, torch.Tensor]]:
    """Features and labels of each modality's rows."""
    if isinstance(modality, torch.Tensor):
        assert modality.device.type == "cpu", "modality must stay on the host: reading it from a device would wait"
        modality = modality.tolist()
    assert len(pooled) == len(labels) == len(modality), "pooled rows, their labels and their modality differ in number"
    runs = runs_of(modality)
    return {m: (rows_of(pooled, runs, m), rows_of(labels, runs, m)) for m in Modality}


def _scaled(parts: Parts, factor: float) -> Parts:
    return {name: value * factor for name, value in parts.items()}


def _report(terms: list[tuple[float, str, Parts]]) -> Parts:
    """The weighted sum first, then each term's sum, then its parts."""
    sums = [(weight, sum(parts.values())) for weight, _, parts in terms]
    report = {"loss": sum(weight * value for weight, value in sums)}
    for (_, name, parts), (_, value) in zip(terms, sums, strict=True):
        report[name] = value.detach()
        report |= {f"{name}_{part}": value.detach() for part, value in parts.items() if part}
    return report


def _check_modalities(loss: TotalLoss) -> None:
    used = ", ".join(modality.key for modality in loss.modalities)
    for modality in loss.intra or ():
        if modality not in loss.modalities:
            raise ValueError(f"loss.intra_modalities: {modality.key} is not in use; in use: {used}")
    for modality in (modality for pair in loss.cross for modality in pair):
        if modality not in loss.modalities:
            raise ValueError(f"loss.cross_pairs: {modality.key} is not in use; in use: {used}")
    pairs = [frozenset(pair) for pair in loss.cross]
    for pair, (first, second) in zip(pairs, loss.cross, strict=True):
        if len(pair) == 1 or pairs.count(pair) > 1:
            found = f"{first.key}, {second.key}"
            raise ValueError(
                f"loss.cross_pairs: expected pairs of two different modalities, each pair once; found {found}"
            )
    if loss.intra is not None and len(set(loss.intra)) != len(loss.intra):
        raise ValueError(f"loss.intra_modalities: each modality once; found {', '.join(m.key for m in loss.intra)}")


def _check_numbers(loss: TotalLoss) -> None:
    for name in ("margin", "identity_weight", "intra_weight", "cross_weight"):
        if not 0 <= getattr(loss, name) < float("inf"):
            raise ValueError(f"loss.{name}: expected a number of 0 or more; found {getattr(loss, name)!r}")
    if not 0 <= loss.label_smoothing <= 1:
        raise ValueError(f"loss.label_smoothing: expected a number of 0 to 1; found {loss.label_smoothing!r}")
    if loss.reduction not in REDUCTIONS:
        raise ValueError(f"loss.reduction: expected one of {', '.join(REDUCTIONS)}; found {loss.reduction!r}")
    if not (loss.identity_weight or (loss.intra_weight and loss._intra) or (loss.cross_weight and loss.cross)):
        raise ValueError("loss: every part is switched off; give one of identity, intra, cross a weight above 0")
