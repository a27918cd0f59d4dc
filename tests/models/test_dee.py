from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from pipeline.models.dee import DEE


@pytest.mark.parametrize("branches", [1, 2])
@pytest.mark.parametrize("size", [(4, 2), (7, 5)])
def test_versions_stand_below_the_rows_they_are_made_of(branches: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    insert = DEE(DEE.Options("dee", branches=branches), channels=8).double().eval()
    assert insert.copies == 1 + branches
    features = torch.randn(3, 8, *size, dtype=torch.float64)
    found = insert(features).chunk(insert.copies)
    assert torch.equal(found[0], features)
    for branch, version in zip(insert.branches, found[1:], strict=True):
        mean = sum(
            functional.conv2d(functional.pad(features, (r, r, r, r)), layer.weight, dilation=r) / 3
            for r, layer in zip((1, 2, 3), branch.dilated, strict=True)
        )
        torch.testing.assert_close(version, branch.expand(mean.clamp(min=0)))
        assert branch.expand.in_channels == 2 and branch.expand.bias.abs().max() == 0
    assert len({version.sum().item() for version in found}) == insert.copies


def test_values_of_all_versions_are_dropped_in_training() -> None:
    torch.manual_seed(0)
    insert = DEE(DEE.Options("dee", dropout=0.5), channels=16).train()
    for version in insert(torch.randn(5, 16, 4, 4)).chunk(3):
        assert 0.4 < (version == 0).float().mean() < 0.6
