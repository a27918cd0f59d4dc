"""Values of MSCMNet's code beside ours, for `published`."""

from __future__ import annotations

import torch

from pipeline.batch import Modality
from pipeline.losses.centers import centers_of, first_rows, mean_over
from pipeline.losses.distance import paired_euclidean, pairwise_euclidean
from pipeline.losses.quadruple_center import quadruple_center_loss
from tests.losses.published_case import Case, of_features


def quadruple_center(case: Case) -> torch.Tensor:
    return torch.stack([*quadruple_center_loss({kind: case.of(kind) for kind in Modality}, 0.7).values()]).sum()


def half_center_cluster(case: Case) -> torch.Tensor:
    """Half of the mean distance to the identity's center and of the hinge between centers, which that code has too."""
    features, labels = case["features"], case["labels"]
    centers, _ = centers_of(labels, features, labels)
    once = first_rows(labels)
    pairs = once[:, None] & once[None, :] & (labels[:, None] != labels[None, :])
    push = mean_over(torch.relu(0.7 - pairwise_euclidean(centers, centers)), pairs)
    return (paired_euclidean(features, centers).mean() + push) / 2


QUANTITIES = [
    of_features("qct", "qct_m07", quadruple_center),
    of_features("qct", "centertriplet_half_m07", half_center_cluster),
]
