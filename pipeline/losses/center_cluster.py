"""MPANet's center cluster loss (Wu et al., CVPR 2021): rows are drawn to their center, centers pushed apart."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pipeline.losses.centers import centers_of, first_rows
from pipeline.losses.distance import paired_euclidean, pairwise_euclidean
from pipeline.losses.modalities import ModalitiesTerm
from pipeline.losses.term import Parts, Rows
from pipeline.settings_key import key


def center_cluster_loss(features: torch.Tensor, labels: torch.Tensor, margin: float) -> Parts:
    """Returns two scalars, with c_k the mean feature of identity k:

    pull  mean over rows i of |f_i - c_{y_i}|
    push  mean over ordered pairs of identities k != l of [margin - |c_k - c_l|]_+; 0 for one identity

    features (N, D), labels (N,) int64. The gradient at distance 0 is 0. DoubtedSteam/MPANet f57fd5c, whose batches
    have equally many rows of each identity.
    """
    if not len(features):
        return {"pull": features.sum() * 0, "push": features.sum() * 0}  # still part of the graph
    centers, _ = centers_of(labels, features, labels)
    first = first_rows(labels)
    pairs = first[:, None] & first[None, :] & (labels[:, None] != labels[None, :])
    hinge = torch.relu(margin - pairwise_euclidean(centers, centers))
    push = torch.where(pairs, hinge, 0).sum() / pairs.sum().clamp(min=1)
    return {"pull": paired_euclidean(features, centers).mean(), "push": push}


class CenterClusterLoss(ModalitiesTerm):
    """`center_cluster_loss` over the rows of its modalities together."""

    @dataclass(frozen=True)
    class Options(ModalitiesTerm.Options):
        margin: float = key(0.7, "between centers, in units of the feature distance", min=0)

    settings: Options

    def forward(self, rows: Rows) -> Parts:
        vectors, labels = self.together(rows, self.modalities)
        return center_cluster_loss(vectors, labels, self.settings.margin)
