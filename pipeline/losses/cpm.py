"""The cross-modality center loss of DEEN (Zhang, Wang, CVPR 2023), between the images and further versions of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from pipeline.batch import CAPTURED, Modality
from pipeline.losses.centers import centers_of, first_rows, mean_over, nearest_of
from pipeline.losses.distance import paired_euclidean, pairwise_euclidean
from pipeline.losses.term import FeatureTerm, LossContext, Parts, Rows, check_versions
from pipeline.settings_key import key


class Centers(NamedTuple):
    """Centers of K identities in both modalities, (K, D) each: of the images, and of another version of them."""

    visible: torch.Tensor
    infrared: torch.Tensor
    visible_version: torch.Tensor
    infrared_version: torch.Tensor


def cpm_loss(centers: Centers, labels: torch.Tensor, counted: torch.Tensor, margin: float) -> torch.Tensor:
    """Returns (A(V, I, V') + A(I, V, I')) / 2, a scalar, where V, I are the centers and V', I' those of a version, and
    A(a, b, a') is the mean over identities k of

    [m + p_k - sg |a_k - a'_k|]_+ + 1/2 [m + p_k - n_k(a')]_+ + 1/2 [m + p_k - n_k(a)]_+,

    p_k = |b_k - a'_k|, n_k(x) = min_{j != k} |x_k - x_j|, and sg passes no gradient. labels (K,) int64; means
    and negatives are of the identities that are `counted`, (K,) bool, each once. Without a negative a hinge is 0.

    This is the authors' code (ZYK100/LLCM 886e27c); the paper has one hinge over the distances.
    """
    used = counted[:, None] & counted[None, :] & (labels[:, None] != labels[None, :])

    def pull(own: torch.Tensor, other: torch.Tensor, version: torch.Tensor) -> torch.Tensor:
        base = margin + paired_euclidean(other, version)
        hinge = torch.relu(base - paired_euclidean(own, version).detach())
        for compared in (version, own):
            hinge = hinge + torch.relu(base - nearest_of(pairwise_euclidean(compared, compared), used)) / 2
        return mean_over(hinge, counted)

    visible, infrared, visible_version, infrared_version = centers
    return (pull(visible, infrared, visible_version) + pull(infrared, visible, infrared_version)) / 2


class CPMLoss(FeatureTerm):
    """The sum of `cpm_loss` over the versions of images but the first, of identities that both modalities have."""

    @dataclass(frozen=True)
    class Options(FeatureTerm.Options):
        margin: float = key(0.2, "of the hinges, in units of the feature distance", min=0)

    settings: Options

    def __init__(self, settings: Options, context: LossContext) -> None:
        super().__init__(settings, context)
        self.reads = (*self.reads, "version")
        check_versions("cpm", 2, context)
        if not {*CAPTURED} <= {*context.modalities}:
            used = ", ".join(modality.key for modality in context.modalities)
            raise ValueError(f"type: cpm compares visible with infrared images; in use: {used}")

    def forward(self, rows: Rows) -> Parts:
        visible, infrared = (rows.of(modality) for modality in CAPTURED)
        # a row for each visible one, though an identity has several; only one of them is counted
        wanted = visible.labels
        found = {
            (modality, version): centers_of(wanted, self.vectors(own), labels_of_version(own, version))
            for modality, own in zip(CAPTURED, (visible, infrared), strict=True)
            for version in range(self.context.versions)
        }
        counted = first_rows(wanted) & (found[Modality.INFRARED, 0][1] > 0)
        parts = {}
        for version in range(1, self.context.versions):
            four = Centers(*(found[modality, number][0] for number in (0, version) for modality in CAPTURED))
            parts[f"version_{version}"] = cpm_loss(four, wanted, counted, self.settings.margin)
        return parts


def labels_of_version(rows: Rows, version: int) -> torch.Tensor:
    """Returns the labels (N,) of rows, -1 for those of another version."""
    return rows.labels.where(rows.version == version, -1)
