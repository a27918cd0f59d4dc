"""What HCML minimizes (Ye et al., AAAI 2018; the authors' code): F_x + 0.2 (F_v + F_t), by its formulas.

Rows are features, projected by multiplication from the right: V for visible ones, T for infrared ones, both (d, d), and
then P, of which only M = P P^T appears here. All is float64, and torch differentiates it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

EXACT = 40.0  # from here on log(1 + exp(x)) is x in float64


@dataclass(frozen=True)
class Classes:
    """Features of one modality as the objective needs them: sums over pairs of images are sums over identities.

    means       (C, d) of the features of each identity
    deviations  (n, d): each feature less the mean of its identity
    """

    means: torch.Tensor
    deviations: torch.Tensor

    @classmethod
    def of(cls, features: torch.Tensor, labels: torch.Tensor, count: int) -> Classes:
        """Groups features (n, d) by labels (n,) int64, each of 0 to `count` - 1 there at least once."""
        sums = features.new_zeros((count, features.shape[1])).index_add_(0, labels, features)
        means = sums / torch.bincount(labels, minlength=count)[:, None]
        return cls(means, features - means[labels])


def distances(visible: torch.Tensor, infrared: torch.Tensor, metric: torch.Tensor) -> torch.Tensor:
    """Returns (C, C): (a - b) M (a - b)^T of every visible row a (C, d) and infrared row b (C, d).

    Written out into products of matrices, for the differences of all pairs would take C times the memory.
    """
    of_visible, of_infrared = visible @ metric, infrared @ metric
    squares = [(rows * products).sum(dim=1) for rows, products in ((visible, of_visible), (infrared, of_infrared))]
    return squares[0][:, None] + squares[1] - of_visible @ infrared.T - (of_infrared @ visible.T).T


def logistic(values: torch.Tensor) -> torch.Tensor:
    """Returns log(1 + exp(x)) without overflow."""
    return torch.nn.functional.softplus(values, threshold=EXACT)


def between_modalities(found: torch.Tensor, threshold: float | torch.Tensor) -> torch.Tensor:
    """Returns F_x of distances (C, C): the mean of log(1 + exp(D - mu)) over the pairs of one identity, plus that of
    log(1 + exp(mu - D)) over the pairs of two."""
    count = len(found)
    same = torch.eye(count, dtype=torch.bool, device=found.device)
    losses = logistic(torch.where(same, found - threshold, threshold - found))
    return torch.where(same, losses / count, losses / (count * (count - 1))).sum()


def within_modality(deviations: torch.Tensor, projection: torch.Tensor) -> torch.Tensor:
    """Returns F_v, or F_t: the mean over images of log(1 + exp(|(x - m) V|^2)), m the mean of the identity."""
    return logistic((deviations @ projection).square().sum(dim=1)).mean()
