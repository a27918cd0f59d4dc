"""Distances between features, a gallery's share of the work done once: name -> gallery -> (queries -> distances)."""

from __future__ import annotations

from collections.abc import Callable

import torch

from pipeline.precision import multiply


def check_metric(metric: str) -> None:
    if metric not in DISTANCES:
        raise ValueError(f"evaluation.metric: expected one of {', '.join(DISTANCES)}; found {metric!r}")


def prepare_features(features: torch.Tensor, name: str) -> torch.Tensor:
    """Returns features in float32, or float64 where they are. Raises ValueError with the number of rows not finite."""
    features = features if features.dtype == torch.float64 else features.float()
    # a sum is finite where all its values are, but for overflow; the values themselves are looked at where it isn't
    doubtful = features[~torch.isfinite(features.sum(dim=1))]
    broken = int((~torch.isfinite(doubtful).all(dim=1)).sum())
    if broken:
        raise ValueError(f"{name} features: {broken} of {len(features)} rows hold values that aren't finite")
    return features


def prepare_pair(query: torch.Tensor, gallery: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns (Q, D) and (G, D) features as `prepare_features` does; ValueError for shapes that don't fit, or none."""
    if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1] or not (len(query) and len(gallery)):
        shapes = f"{tuple(query.shape)} and {tuple(gallery.shape)}"
        raise ValueError(f"features: expected (queries, D) and (gallery, D), at least one of each; found {shapes}")
    return prepare_features(query, "query"), prepare_features(gallery, "gallery")


# A function from a block of (Q, D) queries to their (Q, G) distances to a gallery. The gallery's share of the work is
# done once, not for every block.
DistancesOf = Callable[[torch.Tensor], torch.Tensor]


def cosine_distances(gallery: torch.Tensor) -> DistancesOf:
    """Returns 1 - cosine of the angle, in [0, 2]; 1 to a feature of zeros."""
    directions = to_unit_length(gallery)
    return lambda query: multiply(to_unit_length(query), directions.T).neg_().add_(1)


def squared_euclidean_distances(gallery: torch.Tensor) -> DistancesOf:
    """Returns squared distances, which rank as the distances do."""
    squares = square_length(gallery)
    return lambda query: multiply(query, gallery.T).mul_(-2).add_(squares).add_(square_length(query)[:, None])


def negative_inner_products(gallery: torch.Tensor) -> DistancesOf:
    """Returns the negative inner product, which lengths count in."""
    return lambda query: multiply(query, gallery.T).neg_()


DISTANCES: dict[str, Callable[[torch.Tensor], DistancesOf]] = {
    "cosine": cosine_distances,
    "euclidean": squared_euclidean_distances,
    "dot": negative_inner_products,
}


def to_unit_length(features: torch.Tensor) -> torch.Tensor:
    """Returns features divided by their length; NaN where it overflows, for which `check_finite` raises."""
    length = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    return features / length.clamp_min(1e-12).masked_fill(length.isinf(), float("nan"))


def square_length(features: torch.Tensor) -> torch.Tensor:
    return torch.einsum("nd,nd->n", features, features)


def check_finite(distances: torch.Tensor, excluded: torch.Tensor | None) -> None:
    """Raises ValueError where a distance that counts is infinite or NaN."""
    if distances.numel() and not all(map(torch.isfinite, distances.aminmax())):
        broken = ~torch.isfinite(distances)
        if (broken if excluded is None else broken & ~excluded).any():
            raise ValueError("distances: some aren't finite; the features are too large for their precision")
