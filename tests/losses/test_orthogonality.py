from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pipeline.losses.orthogonality import OrthogonalityLoss
from tests.losses.test_cpm import CONTEXT, of_versions


def term(versions: int) -> OrthogonalityLoss:
    return OrthogonalityLoss(OrthogonalityLoss.Options("orthogonality"), replace(CONTEXT, versions=versions))


@pytest.mark.parametrize("versions", [3, 4])
def test_equals_a_loop(versions: int) -> None:
    found = of_versions(tuple(range(versions)))
    images, products = len(found) // versions, []
    for one in range(1, versions):
        for other in range(one + 1, versions):
            products += [found.pooled[one * images + i] @ found.pooled[other * images + i] for i in range(images)]
    assert len(products) == (1 if versions == 3 else 3) * images
    torch.testing.assert_close(term(versions)(found), sum(products) / len(found))


def test_two_versions_are_too_few() -> None:
    with pytest.raises(ValueError, match=r"^type: orthogonality is for 3 versions of an image or more, .*; found 2"):
        term(2)
