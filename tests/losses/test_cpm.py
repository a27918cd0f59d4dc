from __future__ import annotations

import math

import pytest
import torch

from pipeline.batch import CAPTURED, Modality
from pipeline.losses.cpm import CPMLoss
from pipeline.losses.term import LossContext, Rows
from tests.losses.uneven import centers, mean, rows

VERSIONS = 3
CONTEXT = LossContext((*CAPTURED, Modality.VISIBLE_DERIVED), 5, {"global": 5}, versions=VERSIONS)


def of_versions(seeds: tuple[int, ...] = (0, 1, 2), dtype: torch.dtype = torch.float64) -> Rows:
    """Rows of visible and infrared images, of which each lacks an identity of the other, in several versions."""
    features, labels, modality, version = [], [], [], []
    for number, seed in enumerate(seeds):
        visible, labels_1, infrared, labels_2 = rows(dtype, seed)
        features += [visible, infrared]
        labels += [labels_1, labels_2]
        version += [number] * (len(labels_1) + len(labels_2))
        modality += [Modality.VISIBLE] * len(labels_1) + [Modality.INFRARED] * len(labels_2)
    return Rows({"pooled": torch.cat(features), "version": torch.tensor(version)}, torch.cat(labels), modality)


def term(context: LossContext = CONTEXT, **options: float) -> CPMLoss:
    return CPMLoss(CPMLoss.Options("cpm", **options), context)


def by_loops(found: Rows, number: int, margin: float) -> float:
    """The value between the images and their version of that number."""
    c = {}
    for kind in CAPTURED:
        for version in (0, number):
            chosen = [row for row in range(len(found)) if found.modality[row] == kind and found.version[row] == version]
            c[kind, version] = centers(found.pooled[chosen].tolist(), found.labels[chosen].tolist())
    both = sorted(c[CAPTURED[0], 0].keys() & c[CAPTURED[1], 0].keys())
    total = 0.0
    for own, other in (CAPTURED, CAPTURED[::-1]):
        hinges = []
        for k in both:
            base = margin + math.dist(c[other, 0][k], c[own, number][k])
            hinges.append(max(0.0, base - math.dist(c[own, 0][k], c[own, number][k])))
            for version in (0, number):
                negatives = [math.dist(c[own, version][k], c[own, version][j]) for j in both if j != k]
                hinges.append(max(0.0, base - min(negatives)) / 2 if negatives else 0.0)
        total += 3 * mean(hinges) / 2
    return total


@pytest.mark.parametrize("margin", [0.0, 0.2, 5.0])
def test_equals_a_loop(margin: float) -> None:
    found = of_versions()
    parts = term(margin=margin)(found)
    assert list(parts) == ["version_1", "version_2"]
    for number in (1, 2):
        assert parts[f"version_{number}"].item() == pytest.approx(by_loops(found, number, margin), rel=1e-9)


def test_order_of_rows_does_not_matter() -> None:
    found = of_versions()
    order = torch.randperm(len(found), generator=torch.Generator().manual_seed(5))
    parts = {name: part[order] for name, part in found.parts.items()}
    shuffled = Rows(parts, found.labels[order], [found.modality[row] for row in order])
    torch.testing.assert_close(term()(shuffled), term()(found))


@pytest.mark.parametrize("alike", [True, False])
def test_gradients_are_finite_of_equal_rows_and_of_one_identity(alike: bool) -> None:
    found = of_versions(dtype=torch.float32)
    features = (torch.ones_like(found.pooled) if alike else found.pooled).requires_grad_()
    labels = found.labels if alike else torch.zeros_like(found.labels)
    loss = sum(term()(Rows({**found.parts, "pooled": features}, labels, found.modality)).values())
    loss.backward()
    assert torch.isfinite(features.grad).all() and loss.isfinite()


def test_a_batch_of_one_modality_counts_nothing() -> None:
    found = of_versions()
    alone = found.of(Modality.VISIBLE)
    features = alone.pooled.clone().requires_grad_()
    parts = term()(Rows({**alone.parts, "pooled": features}, alone.labels, alone.modality))
    assert [part.item() for part in parts.values()] == [0, 0] and all(part.requires_grad for part in parts.values())


@pytest.mark.parametrize(
    ("context", "message"),
    [
        (LossContext(CAPTURED, 5, {"global": 5}), r"^type: cpm is for 2 versions of an image or more, .*; found 1"),
        (
            LossContext((Modality.VISIBLE,), 5, {"global": 5}, versions=3),
            r"^type: cpm compares visible with infrared .*; in use: vis",
        ),
    ],
)
def test_networks_it_is_not_for(context: LossContext, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        term(context)
