"""Values of the public code of HCT and MMN beside ours, for `tests.losses.published`."""

from __future__ import annotations

from collections.abc import Callable

import torch

from pipeline.batch import Modality
from pipeline.losses.distribution_consistency import DistributionConsistencyLoss
from pipeline.losses.hetero_center_triplet import hetero_center_triplet_loss
from pipeline.losses.term import LossContext, LossTerm, Rows
from pipeline.losses.triplet import TripletLoss
from pipeline.models.generator import MiddleGenerators
from tests.losses.published_case import INFRARED, VISIBLE, Case, Quantity, of_features

FOUR_PAIRS = [[one, other] for one in ("visible", "visible_derived") for other in ("infrared", "infrared_derived")]
PARTS = ("weight", "bias")
CONTEXT = LossContext(tuple(Modality), 1, {"global": 16})


def center_triplet(case: Case) -> torch.Tensor:
    return hetero_center_triplet_loss(*case.of(VISIBLE), *case.of(INFRARED), 0.3)


def value_of(term: LossTerm, case: Case) -> torch.Tensor:
    value = term(Rows({"pooled": case["features"]}, case["labels"], case["modality"].tolist()))
    assert isinstance(value, torch.Tensor)
    return value


def four_pairs(case: Case) -> torch.Tensor:
    return value_of(TripletLoss(TripletLoss.Options(pools=FOUR_PAIRS), CONTEXT), case)


def distribution_consistency(case: Case) -> torch.Tensor:
    term = DistributionConsistencyLoss(DistributionConsistencyLoss.Options(width=8), CONTEXT).double()
    theirs = ("fc1.0.weight", "fc2.0.weight", "fc2.0.bias", "fc2.2.weight", "fc2.2.bias", "fc2.3.weight", "fc2.3.bias")
    own = ("0.weight", "1.weight", "1.bias", "3.weight", "3.bias", "4.weight", "4.bias")
    weights = {name: case[f"dcl_param_{it}"] for name, it in zip(own, theirs, strict=True)}
    term.layers.load_state_dict(weights)
    features = case["dcl_features"]
    modality = [Modality.VISIBLE_DERIVED, Modality.INFRARED_DERIVED]
    labels = torch.arange(len(features))
    (value,) = term(Rows({"pooled": features}, labels, [one for one in modality for _ in range(32)])).values()
    return value


def middle(weights: str, source: str) -> Callable[[Case], torch.Tensor]:
    def value(case: Case) -> torch.Tensor:
        made = MiddleGenerators(["visible", "infrared"]).double().train()
        encoders = {"visible": ("encode1", "fc1", "bn1"), "infrared": ("encode2", "fc2", "bn2")}
        layers = {"decoder": "decode"}
        for name, theirs in encoders.items():
            layers |= {f"encoders.{name}.{place}": it for place, it in zip((0, 2, 4), theirs, strict=True)}
        state = {f"{own}.{part}": case[f"{weights}_{it}.{part}"] for own, it in layers.items() for part in PARTS}
        missing = made.load_state_dict(state, strict=False).missing_keys
        assert all(name.split(".")[2] == "4" for name in missing), missing  # the BN's statistics
        images = case[f"generator_in_{source}"]
        return made(images, [(source, len(images))]).detach()

    return value


QUANTITIES = [
    of_features("hct", "hetero_center_triplet_m03", center_triplet),
    of_features("mmn", "tri_mean_of_four_pairs_m03", four_pairs),
    Quantity("mmn", "dcl", distribution_consistency, {"dcl__grad": "dcl_features"}),
    *(
        Quantity("mmn", f"{weights}_out_{source}", middle(weights, source), {})
        for weights in ("generator_released_init", "generator_random")
        for source in ("visible", "infrared")
    ),
]
