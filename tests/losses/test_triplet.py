from __future__ import annotations

import pytest
import torch

from pipeline.batch import Modality
from pipeline.losses.intra import intra_modality_loss
from pipeline.losses.term import LossContext, Rows
from pipeline.losses.triplet import TripletLoss

USED = (Modality.VISIBLE, Modality.INFRARED, Modality.VISIBLE_DERIVED)
FEATURES = torch.randn(12, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
ROWS = Rows({"pooled": FEATURES}, torch.tensor([3, 3, 8, 8] * 3), sum(((int(one),) * 4 for one in USED), ()))


def term(**options) -> TripletLoss:
    return TripletLoss(TripletLoss.Options("triplet", **options), LossContext(USED, 9, {"global": 5}))


def of_pool(*numbers: int) -> torch.Tensor:
    chosen = [row for number in numbers for row in range(4 * number, 4 * number + 4)]
    return intra_modality_loss(FEATURES[chosen], ROWS.labels[chosen], 0.3, "mean")


def test_one_pool_holds_the_rows_of_all_modalities() -> None:
    torch.testing.assert_close(term()(ROWS), of_pool(0, 1, 2))


def test_pools_are_compared_apart_and_averaged() -> None:
    pools = [["visible", "infrared"], ["infrared", "visible_derived"]]
    torch.testing.assert_close(term(pools=pools)(ROWS), (of_pool(0, 1) + of_pool(1, 2)) / 2)
    assert term(pools=pools)(ROWS) != term()(ROWS)


@pytest.mark.parametrize(
    ("pools", "message"),
    [
        ([], "pools: expected one or more; found none"),
        ([["visible"], []], "pools: modalities: expected one or more; found none"),
        ([["thermal"]], "pools: modalities: modality: expected one of .*; found 'thermal'"),
        ([["infrared_derived"]], "pools: modalities: infrared_derived is not in use"),
        ([["visible", "visible"]], "pools: modalities: each modality once; found visible, visible"),
    ],
)
def test_impossible_pools_are_refused(pools, message) -> None:
    with pytest.raises(ValueError, match=message):
        term(pools=pools)
