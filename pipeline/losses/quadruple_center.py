"""The quadruple center triplet loss (QCT) of MSCMNet (Hua et al., Pattern Recognition 2025)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from pipeline.batch import CAPTURED, Modality
from pipeline.losses.centers import centers_of, first_rows, mean_over
from pipeline.losses.distance import paired_euclidean, pairwise_euclidean
from pipeline.losses.modalities import ModalitiesTerm
from pipeline.losses.term import LossContext, Parts, Rows
from pipeline.settings_key import key

Stream = tuple[torch.Tensor, torch.Tensor]  # features (N, D) and labels (N,) int64 of the rows of one modality


def quadruple_center_loss(
    streams: Mapping[Modality, Stream], margin: float, intra_weight: float = 0.0
) -> dict[str, torch.Tensor]:
    """Returns `pull` and `push`, scalars, whose sum over rows i and identities k other than that of i is

    1/2 (mean_i d(f_i, o_i) + mean_i mean_k [margin - d(f_i, c_k)]_+).

    o_i is the center of the identity of row i over all streams of the captured modality that i isn't of, or derived
    from; c_k is the center of identity k over all streams; d is Euclidean. A row whose identity the other modality
    lacks is not pulled, and nothing is pushed where there is one identity alone.

    intra_weight, 0-1, is a in (1 - a) d(f_i, o_i) + a d(f_i, s_i), which then takes the first distance's place; s_i is
    the center of the identity in the stream of i itself. The authors' code (Hua-XC/MSCMNet) sets it to 0.
    """
    features, labels = joined([*streams.values()])
    pull = (1 - intra_weight) * to_other_centers(streams)
    if intra_weight:
        pull = pull + intra_weight * to_own_centers(streams)
    return {"pull": pull / 2, "push": from_other_identities(features, labels, margin) / 2}


def joined(streams: Sequence[Stream]) -> Stream:
    """Returns the rows of one stream or more below each other."""
    features, labels = zip(*streams, strict=True)
    return torch.cat(features), torch.cat(labels)


def to_other_centers(streams: Mapping[Modality, Stream]) -> torch.Tensor:
    """Returns the mean distance of a row to its identity's center in the other captured modality, a scalar."""
    features, labels = next(iter(streams.values()))
    none = features[:0], labels[:0]
    of = {base: joined([none, *(own for kind, own in streams.items() if kind.base is base)]) for base in CAPTURED}
    distances, counted = [], []
    for base in CAPTURED:
        anchors, anchor_labels = of[base]
        center, count = centers_of(anchor_labels, *of[base.other])
        distances.append(paired_euclidean(anchors, center))
        counted.append(count > 0)
    return mean_over(torch.cat(distances), torch.cat(counted))


def to_own_centers(streams: Mapping[Modality, Stream]) -> torch.Tensor:
    """Returns the mean distance of a row to its identity's center in its own stream, a scalar; 0 without rows."""
    own = [paired_euclidean(features, centers_of(labels, features, labels)[0]) for features, labels in streams.values()]
    distances = torch.cat(own)
    return distances.sum() / max(len(distances), 1)


def from_other_identities(features: torch.Tensor, labels: torch.Tensor, margin: float) -> torch.Tensor:
    """Returns the mean over rows i and identities k, other than that of i, of [margin - d(f_i, c_k)]_+, a scalar."""
    # a column for each row, which holds its identity's center; only one of each identity is counted
    centers, _ = centers_of(labels, features, labels)
    negative = (labels[:, None] != labels[None, :]) & first_rows(labels)[None, :]
    return mean_over(torch.relu(margin - pairwise_euclidean(features, centers)), negative)


class QuadrupleCenterLoss(ModalitiesTerm):
    """`quadruple_center_loss` over the rows of its modalities, each a stream."""

    @dataclass(frozen=True)
    class Options(ModalitiesTerm.Options):
        margin: float = key(0.7, "least distance to other identities' centers, in units of the features", min=0)
        intra_weight: float = key(
            0.0, "share of the pull to the center in a row's own stream, 0-1; MSCMNet's code: 0", min=0, max=1
        )

    settings: Options

    def __init__(self, settings: Options, context: LossContext) -> None:
        super().__init__(settings, context)
        if settings.weight and len({modality.base for modality in self.modalities}) < len(CAPTURED):
            found = ", ".join(modality.key for modality in self.modalities)
            raise ValueError(f"modalities: expected some of both captured modalities; found {found}")

    def forward(self, rows: Rows) -> Parts:
        parts = {modality: rows.of(modality) for modality in self.modalities}
        streams = {modality: (self.vectors(own), own.labels) for modality, own in parts.items()}
        return quadruple_center_loss(streams, self.settings.margin, self.settings.intra_weight)
